//! A word that the store does not take, although it answers, waits beside those of others.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    pb::ExecutionState as P,
    task::ExecutionState as S,
};
use tokio::time::{sleep, timeout};

use super::{
    bench::{Bench, soon},
    records::ended_as,
};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::{
        Config,
        heard::{self, Heard, Hearing},
    },
};

/// A store that answers, and is too slow for one execution.
#[derive(Default)]
struct Slow {
    execution: Mutex<Option<(TaskId, AgentId)>>,
    /// Whether each write takes so long as one that waits for a lock in vain, twice.
    in_all: AtomicBool,
}

#[async_trait]
impl Faults for Slow {
    async fn at(&self, point: Point) -> Result<()> {
        if point == Point::BeforeWrite && self.in_all.load(Ordering::Relaxed) {
            sleep(Duration::from_secs(6)).await;
        }
        Ok(())
    }

    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        *self.execution.lock().unwrap()
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

    *slow.execution.lock().unwrap() = Some((of_a.parse().unwrap(), a.id));
    a.finish(attempt, &["x\n"], S::Succeeded).await;
    let of_b = bench.create_on(&["b"]).await.task.unwrap().id;
    let other = b.task().await;
    b.finish(other, &["y\n"], S::Succeeded).await;
    assert_eq!(soon("the other's end", b.archived(other)).await, 2);
    bench.until(&of_b, &[P::Succeeded]).await;

    *slow.execution.lock().unwrap() = None;
    assert_eq!(
        soon("its own end", a.archived(attempt)).await,
        2,
        "nothing of it was lost"
    );
    bench.until(&of_a, &[P::Succeeded]).await;
}

/// What waited for its write was in no agent's share: one that repeated its end filled 130 MiB.
#[tokio::test(start_paused = true)]
async fn ends_that_wait_for_the_store_take_their_agents_room() {
    let slow = Arc::new(Slow::default());
    let store = Store::from(MemoryStore::with_faults(slow.clone()));
    let bench = Bench::over(store, Config::default()).await;
    let mut a = bench.joined("a").await;
    let task = bench.create_on(&["a"]).await.task.unwrap().id;
    let attempt = a.task().await;
    a.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;

    *slow.execution.lock().unwrap() = Some((task.parse().unwrap(), a.id));
    let sent = AtomicUsize::new(0);
    let flood = async {
        for _ in 0..4_096 {
            a.finish(attempt, &[], S::Succeeded).await;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    timeout(Duration::from_secs(3), flood)
        .await
        .expect_err("all of them were taken");
    // 256 in its share, 1,024 in the test's own channel, one of either that is between two places.
    let most = 256 + 1_024 + 2;
    assert!(sent.load(Ordering::Relaxed) <= most, "{sent:?}");
}

/// An agent that said something new of such an attempt again and again filled the place beside, and then nobody was heard.
#[tokio::test(start_paused = true)]
async fn whoever_says_too_much_of_one_attempt_stops_nobody_else() {
    let slow = Arc::new(Slow::default());
    let store = Store::from(MemoryStore::with_faults(slow.clone()));
    let bench = Bench::over(store, Config::default()).await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let of_a = bench.create_on(&["a"]).await.task.unwrap().id;
    let attempt = a.task().await;
    a.accept(attempt).await;
    bench.until(&of_a, &[P::Running]).await;
    *slow.execution.lock().unwrap() = Some((of_a.parse().unwrap(), a.id));
    a.finish(attempt, &["x\n"], S::Succeeded).await;
    // It waits beside the others.
    sleep(Duration::from_secs(30)).await;
    for why in 0..600 {
        let frame = opslink::pb::Refused {
            attempt_id: attempt.to_string(),
            reason: "NO".to_owned(),
            message: format!("{why}"),
        };
        let refused = opslink::pb::attach_request::Frame::Refused(frame);
        let request = opslink::pb::AttachRequest { frame: Some(refused) };
        if a.up.send(Ok(request)).await.is_err() {
            break;
        }
    }
    assert_eq!(
        a.end_of_link().await.expect("why").reason,
        opslink::reason::Reason::FrameUnexpected
    );

    let of_b = bench.create_on(&["b"]).await.task.unwrap().id;
    let other = b.task().await;
    b.finish(other, &["y\n"], S::Succeeded).await;
    let limit = Duration::from_secs(60);
    timeout(limit, b.archived(other)).await.expect("the other's end");
    bench.until(&of_b, &[P::Succeeded]).await;
}

/// Each try began with all of them, took longer than a round may take, and was forgotten: none of them was ever taken.
#[tokio::test(start_paused = true)]
async fn however_slowly_a_word_is_refused_those_beside_it_are_taken() {
    let slow = Arc::new(Slow::default());
    let store = Store::from(MemoryStore::with_faults(slow.clone()));
    let bench = Bench::over(store, Config::default()).await;
    let (mut words, mut tasks) = (Vec::new(), Vec::new());
    let mut agents = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let mut agent = bench.joined(name).await;
        let task = bench.create_on(&[name]).await.task.unwrap().id;
        let attempt = agent.task().await;
        agent.accept(attempt).await;
        bench.until(&task, &[P::Running]).await;
        words.push(Heard::ended(agent.id, attempt, ended_as(S::Succeeded), true, 1));
        tasks.push(task);
        agents.push(agent);
    }
    let bad = 2;
    *slow.execution.lock().unwrap() = Some((tasks[bad].parse().unwrap(), agents[bad].id));
    slow.in_all.store(true, Ordering::Relaxed);

    // All of them in one batch.
    let (hearing, queue) = Hearing::new();
    for word in words {
        hearing.take(word).await;
    }
    let (commit, links) = (bench.engine.submit.commit.clone(), bench.engine.links().clone());
    let hearer = tokio::spawn(heard::run(commit, links, queue));
    let taken = async |task: &String| {
        while bench.states(task).await != [P::Succeeded] {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let a_while = Duration::from_secs(300);
    for (at, task) in tasks.iter().enumerate() {
        if at != bad {
            timeout(a_while, taken(task)).await.expect("the word of another");
        }
    }
    *slow.execution.lock().unwrap() = None;
    timeout(a_while, taken(&tasks[bad])).await.expect("its own word");
    hearer.abort();
}
