//! A word that the store does not take, although it answers, waits beside those of others.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    pb::ExecutionState as P,
    task::ExecutionState as S,
};

use super::bench::{Bench, soon};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::Config,
};

/// A store that answers, and is too slow for one execution.
#[derive(Default)]
struct Slow(Mutex<Option<(TaskId, AgentId)>>);

#[async_trait]
impl Faults for Slow {
    async fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }

    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        *self.0.lock().unwrap()
    }

    fn damage(&self, name: &str) -> Error {
        Error::unavailable(format!("{name}: canceling statement due to statement timeout"))
    }
}

/// It was tried again without end, and nobody's word was taken any more.
#[tokio::test(start_paused = true)]
async fn a_word_that_is_not_taken_now_waits_beside_the_others() {
    let slow = Arc::new(Slow::default());
    let store = Store::from(MemoryStore::with_faults(slow.clone()));
    let bench = Bench::over(store, Config::default()).await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let of_a = bench.create_on(&["a"]).await.task.unwrap().id;
    let attempt = a.task().await;
    a.accept(attempt).await;
    bench.until(&of_a, &[P::Running]).await;

    *slow.0.lock().unwrap() = Some((of_a.parse().unwrap(), a.id));
    a.finish(attempt, &["x\n"], S::Succeeded).await;
    let of_b = bench.create_on(&["b"]).await.task.unwrap().id;
    let other = b.task().await;
    b.finish(other, &["y\n"], S::Succeeded).await;
    assert_eq!(soon("the other's end", b.archived(other)).await, 2);
    bench.until(&of_b, &[P::Succeeded]).await;

    *slow.0.lock().unwrap() = None;
    assert_eq!(
        soon("its own end", a.archived(attempt)).await,
        2,
        "nothing of it was lost"
    );
    bench.until(&of_a, &[P::Succeeded]).await;
}
