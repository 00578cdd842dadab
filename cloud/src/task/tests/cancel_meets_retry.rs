//! A wish to cancel that comes while a retry of the same task is being written, which only PostgreSQL does side by side.

use opslink::{pb, pb::ExecutionState as P, task::ExecutionState as S};

use super::bench::{Bench, caller, soon};
use crate::{
    store::{
        conformance::postgres::{Database, HeldRows},
        sql::{Options, SqlStore},
    },
    task::Config,
};

/// Waits until so many sessions of this database wait for a lock.
async fn until_waiting(held: &HeldRows, sessions: i64) {
    let waiting = async {
        while held.waiting().await < sessions {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("sessions that wait", waiting).await;
}

#[tokio::test]
async fn a_cancel_that_meets_a_retry_reaches_what_the_retry_started() {
    let database = Database::create().await;
    let store = SqlStore::open(&database.url, Options::default()).await.unwrap();
    let bench = Bench::over(store.clone(), Config::default()).await;
    let (mut runs, mut failed) = (bench.joined("a").await, bench.joined("b").await);
    let task = bench.create_on(&["a", "b"]).await.task.unwrap().id;
    let (running, first) = (runs.task().await, failed.task().await);
    runs.accept(running).await;
    failed.finish(first, &[], S::Failed).await;
    bench.until(&task, &[P::Running, P::Failed]).await;

    // The retry stands in its middle: it has the task's revisions, and not yet the execution.
    let id: opslink::id::TaskId = task.parse().unwrap();
    let hold = format!(
        "SELECT 1 FROM execution WHERE task_id = '{}' AND agent_id = '{}' FOR UPDATE",
        id.uuid(),
        failed.id.uuid()
    );
    let held = HeldRows::by(&database, &hold).await;
    let (retry_engine, cancel_engine) = (bench.engine.clone(), bench.engine.clone());
    let request = pb::RetryTaskRequest {
        id: task.clone(),
        ..Default::default()
    };
    let retry = tokio::spawn(async move { retry_engine.retry(&caller(), request).await });
    until_waiting(&held, 1).await;
    let request = pb::CancelTaskRequest {
        id: task.clone(),
        ..Default::default()
    };
    let cancel = tokio::spawn(async move { cancel_engine.cancel(&caller(), request).await });
    until_waiting(&held, 2).await;
    held.let_go().await;
    soon("the retry", retry).await.unwrap().unwrap();
    soon("the cancel", cancel).await.unwrap().unwrap();

    assert_eq!(runs.cancel().await, running);
    let second = failed.cancel().await;
    assert_ne!(second, first, "its second attempt is told to end too");
    bench.stop();
    drop(store);
    database.remove().await;
}
