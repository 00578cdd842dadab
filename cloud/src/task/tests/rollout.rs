//! How tasks spread, and how they are tried again.

use ExecutionState as S;
use opslink::{pb, pb::ExecutionState as P, reason::Reason, task::ExecutionState};

use super::bench::{Bench, caller, on};

fn spread(names: &[&str], max_parallel: u32, max_failures: u32) -> pb::CreateTaskRequest {
    pb::CreateTaskRequest {
        rollout: Some(pb::Rollout {
            max_parallel,
            max_failures,
        }),
        ..on(names)
    }
}

fn retry(id: &str) -> pb::RetryTaskRequest {
    pb::RetryTaskRequest {
        id: id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn at_most_max_parallel_are_at_work() {
    let bench = Bench::new().await;
    let (mut a, mut b, mut c) = (
        bench.joined("a").await,
        bench.joined("b").await,
        bench.joined("c").await,
    );
    let id = bench
        .create(spread(&["a", "b", "c"], 1, 0))
        .await
        .unwrap()
        .task
        .unwrap()
        .id;
    assert_eq!(bench.states(&id).await, [P::Dispatched, P::Held, P::Held]);
    let attempt = a.task().await;
    a.finish(attempt, &[], S::Failed).await;
    let attempt = b.task().await;
    bench.until(&id, &[P::Failed, P::Dispatched, P::Held]).await;
    b.finish(attempt, &[], S::Succeeded).await;
    let attempt = c.task().await;
    c.finish(attempt, &[], S::Succeeded).await;
    bench.until(&id, &[P::Failed, P::Succeeded, P::Succeeded]).await;
}

#[tokio::test]
async fn too_many_failures_stop_what_has_not_started() {
    let bench = Bench::new().await;
    let (mut a, _b, _c) = (
        bench.joined("a").await,
        bench.joined("b").await,
        bench.joined("c").await,
    );
    let id = bench
        .create(spread(&["a", "b", "c"], 1, 1))
        .await
        .unwrap()
        .task
        .unwrap()
        .id;
    let attempt = a.task().await;
    a.finish(attempt, &[], S::Failed).await;
    bench.until(&id, &[P::Failed, P::Canceled, P::Canceled]).await;
    assert_eq!(bench.engine.get(&id).await.unwrap().state(), pb::TaskState::Failed);
    let last = bench
        .store
        .execution_list(id.parse().unwrap(), Some("b"), 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(last.outcome.unwrap().reason, "ROLLOUT_STOPPED");
}

#[tokio::test]
async fn more_than_the_slots_of_an_agent_wait_in_order() {
    let config = crate::task::Config {
        slots_per_agent: 2,
        ..Default::default()
    };
    let bench = Bench::with(config).await;
    let mut agent = bench.joined("web").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.create_on(&["web"]).await.task.unwrap().id);
    }
    for id in &ids {
        let attempt = agent.task().await;
        let execution = bench.store.execution_by_attempt(attempt).await.unwrap().unwrap();
        assert_eq!(execution.task_id.to_string(), *id);
        agent.finish(attempt, &[], S::Succeeded).await;
        bench.until(id, &[P::Succeeded]).await;
    }
}

#[tokio::test]
async fn a_retry_makes_a_new_attempt_for_what_did_not_succeed() {
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let id = bench.create_on(&["a", "b"]).await.task.unwrap().id;
    let (first, good) = (a.task().await, b.task().await);
    let early = bench.engine.retry(&caller(), retry(&id)).await.unwrap_err();
    assert_eq!(early.reason, Reason::TaskNotFinished);
    a.finish(first, &["bad\n"], S::Failed).await;
    b.finish(good, &["good\n"], S::Succeeded).await;
    bench.until(&id, &[P::Failed, P::Succeeded]).await;

    let request = pb::RetryTaskRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..retry(&id)
    };
    let answer = bench.engine.retry(&caller(), request.clone()).await.unwrap();
    assert_eq!(answer.executions.len(), 1);
    let second = a.task().await;
    assert_ne!(second, first);
    let replay = bench.engine.retry(&caller(), request.clone()).await.unwrap();
    assert_eq!(replay.executions[0].attempt_id, second.to_string());
    a.finish(second, &["better\n"], S::Succeeded).await;
    bench.until(&id, &[P::Succeeded, P::Succeeded]).await;
    let replay = bench.engine.retry(&caller(), request).await.unwrap();
    assert_eq!(replay.executions[0].attempt_id, second.to_string());
    let nothing = bench.engine.retry(&caller(), retry(&id)).await.unwrap_err();
    assert_eq!(nothing.reason, Reason::NothingToRetry);
    let named = pb::RetryTaskRequest {
        agents: vec!["a".into(), "b".into()],
        ..retry(&id)
    };
    let nothing = bench.engine.retry(&caller(), named.clone()).await.unwrap_err();
    assert_eq!(
        nothing.reason,
        Reason::NothingToRetry,
        "to be named is no wish to run twice"
    );
    let list = pb::ListExecutionsRequest {
        task_id: id.clone(),
        ..Default::default()
    };
    let attempts = bench
        .engine
        .list_executions(list)
        .await
        .unwrap()
        .executions
        .remove(0)
        .attempts;
    assert_eq!(
        attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn what_has_ended_is_retried_while_the_others_are_at_work() {
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let id = bench.create_on(&["a", "b"]).await.task.unwrap().id;
    let (first, other) = (a.task().await, b.task().await);
    a.finish(first, &[], S::Failed).await;
    bench.until(&id, &[P::Failed, P::Dispatched]).await;
    let answer = bench.engine.retry(&caller(), retry(&id)).await.unwrap();
    assert_eq!(answer.executions.len(), 1);
    let second = a.task().await;
    assert_ne!(second, first);
    a.finish(second, &[], S::Succeeded).await;
    b.finish(other, &[], S::Succeeded).await;
    bench.until(&id, &[P::Succeeded, P::Succeeded]).await;
}

#[tokio::test]
async fn a_retry_keeps_to_the_width_of_its_rollout() {
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let id = bench.create(spread(&["a", "b"], 1, 0)).await.unwrap().task.unwrap().id;
    for agent in [&mut a, &mut b] {
        let attempt = agent.task().await;
        agent.finish(attempt, &[], S::Failed).await;
    }
    bench.until(&id, &[P::Failed, P::Failed]).await;
    bench.engine.retry(&caller(), retry(&id)).await.unwrap();
    bench.until(&id, &[P::Dispatched, P::Held]).await;
    for agent in [&mut a, &mut b] {
        let attempt = agent.task().await;
        agent.finish(attempt, &[], S::Succeeded).await;
    }
    bench.until(&id, &[P::Succeeded, P::Succeeded]).await;
}
