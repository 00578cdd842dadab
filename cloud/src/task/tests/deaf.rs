//! What happens when no signal ever arrives: everything, only later.

use std::{sync::Arc, time::Duration};

use ExecutionState as S;
use futures::StreamExt;
use opslink::{
    pb,
    pb::{ExecutionState as P, watch_task_response::Event as Sent},
    task::ExecutionState,
};

use super::{
    bench::{Bench, on, soon},
    trouble::quick,
};
use crate::{
    signals::{Between, Signal, Signals},
    task::Config,
};

/// Hears nothing.
struct Deaf;

impl Signals for Deaf {
    fn send(&self, _: Signal<'_>) {}
}

fn deaf(config: Config) -> Config {
    Config {
        signals: Between::new(|_| Arc::new(Deaf)),
        watch_heartbeat: Duration::from_millis(20),
        ..config
    }
}

/// A task that waits for its agent.
fn waiting(name: &str) -> pb::CreateTaskRequest {
    pb::CreateTaskRequest {
        queueing: Some(pb::Queueing {
            enabled: true,
            ttl_secs: 60,
        }),
        ..on(&[name])
    }
}

#[tokio::test]
async fn a_task_takes_its_whole_road_without_a_signal() {
    let bench = Bench::with(deaf(quick())).await;
    let id = bench.join("away").await;
    let task = bench.create(waiting("away")).await.unwrap().task.unwrap().id;
    let request = pb::WatchTaskRequest {
        task_id: task.clone(),
        output: pb::OutputMode::Chunks.into(),
        ..Default::default()
    };
    let mut messages = bench.engine.watch(request).await.unwrap().boxed();
    let mut agent = bench.attach(id, Vec::new()).await;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    agent.finish(attempt, &["one\n", "two\n"], S::Succeeded).await;
    let (mut chunks, mut last) = (0, None);
    let watched = async {
        while let Some(message) = messages.next().await {
            match message.unwrap().event.unwrap() {
                Sent::Chunk(_) => chunks += 1,
                Sent::Execution(execution) => last = Some(execution.state()),
                _ => {}
            }
        }
    };
    soon("the end of the watch", watched).await;
    assert_eq!((chunks, last), (3, Some(P::Succeeded)));
}

#[tokio::test]
async fn a_slot_that_is_free_again_and_the_next_of_a_rollout_are_found_without_a_signal() {
    let config = Config {
        slots_per_agent: 1,
        ..quick()
    };
    let bench = Bench::with(deaf(config)).await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let request = pb::CreateTaskRequest {
        rollout: Some(pb::Rollout {
            max_parallel: 1,
            max_failures: 0,
        }),
        ..on(&["a", "b"])
    };
    let spread = bench.create(request).await.unwrap().task.unwrap().id;
    let attempt = a.task().await;
    let next = bench.create_on(&["a"]).await.task.unwrap().id;
    bench.until(&next, &[P::Queued]).await;
    a.finish(attempt, &[], S::Succeeded).await;
    let attempt = a.task().await;
    a.finish(attempt, &[], S::Succeeded).await;
    bench.until(&next, &[P::Succeeded]).await;
    b.task().await;
    bench.until(&spread, &[P::Succeeded, P::Dispatched]).await;
}

#[tokio::test]
async fn what_waits_for_an_agent_is_marked_for_the_sweep_at_its_commit_and_when_the_agent_comes() {
    let bench = Bench::with(deaf(Config {
        // The test looks by itself.
        reconcile_every: Duration::from_secs(3_600),
        ..Config::default()
    }))
    .await;
    let id = bench.join("away").await;
    bench.create(waiting("away")).await.unwrap();
    let book = &bench.engine.submit.commit.book;
    assert_eq!(book.neglected(), [id]);
    // As the sweep does with whoever is not here, and as a restart does.
    book.set_backlog(id, false);
    let _agent = bench.attach(id, Vec::new()).await;
    assert_eq!(book.neglected(), [id]);
}
