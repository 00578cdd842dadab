//! Work that a process left behind is done by the next one, because its row says so.

use std::time::Duration;

use ExecutionState as S;
use opslink::{pb, pb::ExecutionState as P, task::ExecutionState, time::UnixMicros};

use super::{
    bench::{Agent, Bench, audit, on, soon},
    trouble::{Trouble, left_by, make_due, quick, rewrite, store_queued},
};
use crate::{store::Store, task::Config};

/// A task on `a` and `b`, one after the other.
fn spread(max_failures: u32) -> pb::CreateTaskRequest {
    pb::CreateTaskRequest {
        rollout: Some(pb::Rollout {
            max_parallel: 1,
            max_failures,
        }),
        ..on(&["a", "b"])
    }
}

async fn pair(bench: &Bench) -> (Agent, Agent) {
    (bench.joined("a").await, bench.joined("b").await)
}

/// A rollout whose cloud died right after it had stored the end of its first execution; and its second agent.
async fn cut_after_an_end(max_failures: u32) -> (Store, String, opslink::id::AgentId) {
    let (trouble, memory) = Trouble::with_memory();
    let bench = Bench::over(Store::from(memory.clone()), Config::default()).await;
    let (mut a, b) = pair(&bench).await;
    let task = bench.create(spread(max_failures)).await.unwrap().task.unwrap().id;
    let attempt = a.task().await;
    trouble.hold();
    a.finish(attempt, &[], S::Failed).await;
    bench.until(&task, &[P::Failed, P::Held]).await;
    let left = left_by(&memory);
    let id = b.id;
    bench.stop();
    (left, task, id)
}

#[tokio::test]
async fn a_rollout_goes_on_after_a_death_between_an_end_and_what_follows() {
    let (store, task, id) = cut_after_an_end(0).await;
    let bench = Bench::over(store, quick()).await;
    let mut b = bench.attach(id, Vec::new()).await;
    b.task().await;
    bench.until(&task, &[P::Failed, P::Dispatched]).await;
}

#[tokio::test]
async fn a_rollout_that_failed_too_often_stops_after_a_death_between_an_end_and_what_follows() {
    let (store, task, _) = cut_after_an_end(1).await;
    let bench = Bench::over(store, quick()).await;
    bench.until(&task, &[P::Failed, P::Canceled]).await;
}

#[tokio::test]
async fn a_rollout_has_a_row_from_its_creation_on_and_a_plain_task_has_none() {
    let bench = Bench::new().await;
    let _agents = pair(&bench).await;
    let kinds = ["rollout".to_owned()];
    bench.create_on(&["a", "b"]).await;
    assert_eq!(bench.store.work_next(&kinds).await.unwrap(), None);
    let before = UnixMicros::now();
    let task = bench.create(spread(0)).await.unwrap().task.unwrap().id;
    // Not at once: the creation itself has begun it.
    assert!(bench.store.work_next(&kinds).await.unwrap().unwrap() > before);
    assert_eq!(make_due(&bench.store, "rollout").await, [task]);
}

#[tokio::test]
async fn a_rollout_whose_end_nobody_noticed_goes_on_by_its_own_row() {
    let bench = Bench::with(quick()).await;
    let (mut a, mut b) = pair(&bench).await;
    let task = bench.create(spread(0)).await.unwrap().task.unwrap().id;
    a.task().await;
    // As a database that was set back may have it: the end, and nothing that came with it.
    rewrite(&bench, &task, |execution| {
        execution.state = S::Failed;
        execution.finished_at = Some(UnixMicros::now());
    })
    .await;
    assert_eq!(bench.states(&task).await, [P::Failed, P::Held]);
    assert_eq!(make_due(&bench.store, "rollout").await, std::slice::from_ref(&task));
    b.task().await;
    bench.until(&task, &[P::Failed, P::Dispatched]).await;
}

#[tokio::test]
async fn what_a_removed_agent_had_to_do_is_ended_after_a_death_in_its_removal() {
    let (trouble, memory) = Trouble::with_memory();
    let bench = Bench::over(Store::from(memory.clone()), Config::default()).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    trouble.hold();
    let (engine, id) = (bench.engine.clone(), agent.id);
    let removal = tokio::spawn(async move { engine.remove_agent(id, audit()).await });
    let is_removed = async || bench.store.agent_get(id).await.unwrap().unwrap().removed;
    let removed = async {
        while !is_removed().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the removal", removed).await;
    let store = left_by(&memory);
    removal.abort();
    bench.stop();
    let bench = Bench::over(store, quick()).await;
    bench.until(&task, &[P::Lost]).await;
}

#[tokio::test]
async fn what_was_being_created_while_its_agent_was_removed_is_ended() {
    let bench = Bench::with(quick()).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    bench.engine.remove_agent(agent.id, audit()).await.unwrap();
    bench.until(&task, &[P::Lost]).await;
    // As if its creation had looked before the removal, was committed after it, and died.
    let task = store_queued(&bench, agent.id, None).await;
    assert_eq!(bench.states(&task).await, [P::Queued]);
    make_due(&bench.store, "remains").await;
    bench.until(&task, &[P::Canceled]).await;
}
