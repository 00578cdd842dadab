//! A task goes to its agent once, whoever looks at the store while it is on its way there or back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ExecutionState as S;
use async_trait::async_trait;
use opslink::{pb::ExecutionState as P, task::ExecutionState};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::bench::{Bench, caller, on, soon};
use crate::{
    store::{
        Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::Config,
};

/// Many looks into the queues of agents.
const A_WHILE: Duration = Duration::from_secs(1);

/// Holds the answers of all commits back while it is shut, and counts reads.
struct Late {
    open: watch::Sender<bool>,
    reads: AtomicUsize,
}

#[async_trait]
impl Faults for Late {
    async fn at(&self, point: Point) -> Result<()> {
        match point {
            Point::Read => {
                self.reads.fetch_add(1, Ordering::SeqCst);
            }
            Point::BeforeWrite => {}
            Point::AfterCommit => {
                let mut open = self.open.subscribe();
                open.wait_for(|open| *open).await.unwrap();
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_about_to_be_sent_is_not_sent_by_a_look_in_between() {
    let late = Arc::new(Late {
        open: watch::Sender::new(true),
        reads: AtomicUsize::new(0),
    });
    let config = Config {
        reconcile_every: Duration::from_millis(20),
        ..Config::default()
    };
    let bench = Bench::over(Store::from(MemoryStore::with_faults(late.clone())), config).await;
    let mut agent = bench.joined("web").await;
    late.open.send_replace(false);
    let engine = bench.engine.clone();
    let create = tokio::spawn(async move { engine.create(&caller(), on(&["web"])).await });
    let stored = async {
        while bench.store.execution_handed_over(agent.id).await.unwrap().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the commit", stored).await;
    // The store has it dispatched, and whoever is to send it has no answer yet.
    let reads = late.reads.load(Ordering::SeqCst);
    assert!(
        timeout(A_WHILE, agent.task()).await.is_err(),
        "a look has sent it although somebody is about to"
    );
    assert!(late.reads.load(Ordering::SeqCst) > reads, "nobody has looked");
    late.open.send_replace(true);
    let created = create.await.unwrap().unwrap();
    assert_eq!(agent.task().await.to_string(), created.executions[0].attempt_id);
    assert!(timeout(A_WHILE, agent.task()).await.is_err(), "it was sent twice");
}

#[tokio::test]
async fn what_has_ended_since_the_store_was_read_is_not_sent_again_and_holds_no_slot() {
    let bench = Bench::with(Config {
        slots_per_agent: 1,
        ..Config::default()
    })
    .await;
    let mut agent = bench.joined("web").await;
    let first = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let open = bench.store.execution_handed_over(agent.id).await.unwrap();
    assert_eq!(open.len(), 1);
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&first, &[P::Succeeded]).await;
    assert_eq!(agent.archived(attempt).await, 1);
    bench.engine.submit.dispatch.send_unknown(open).await.unwrap();
    let second = bench.create_on(&["web"]).await;
    assert_eq!(agent.task().await.to_string(), second.executions[0].attempt_id);
}
