//! Watches of a store that goes back to an older state, as in a failover to a copy that was behind.

use std::time::Duration;

use ExecutionState as S;
use futures::{StreamExt, stream::BoxStream};
use opslink::{
    id::AttemptId,
    pb,
    pb::{ExecutionState as P, watch_task_response::Event as Sent},
    problem::Problem,
    task::ExecutionState,
    time::UnixMicros,
};

use super::bench::{Agent, Bench, soon};
use crate::{
    store::{
        Store,
        memory::{MemoryStore, Snapshot},
        record::ExecutionWrite,
    },
    task::Config,
};

type Messages = BoxStream<'static, Result<pb::WatchTaskResponse, Problem>>;

/// A watched task that runs, and the store as it was before that was known.
struct Stage {
    bench: Bench,
    memory: MemoryStore,
    before: Snapshot,
    agent: Agent,
    task: String,
    attempt: AttemptId,
}

impl Stage {
    async fn new(config: Config) -> Self {
        let memory = MemoryStore::new();
        let bench = Bench::over(Store::from(memory.clone()), config).await;
        let mut agent = bench.joined("web").await;
        let task = bench.create_on(&["web"]).await.task.unwrap().id;
        let attempt = agent.task().await;
        let before = memory.snapshot();
        Self {
            bench,
            memory,
            before,
            agent,
            task,
            attempt,
        }
    }

    async fn watch(&self) -> Messages {
        let request = pb::WatchTaskRequest {
            task_id: self.task.clone(),
            ..Default::default()
        };
        self.bench.engine.watch(request).await.unwrap().boxed()
    }

    /// Lets the task run, and takes its news.
    async fn run(&self) {
        self.agent.accept(self.attempt).await;
        self.bench.until(&self.task, &[P::Running]).await;
    }
}

async fn next(messages: &mut Messages) -> Option<Sent> {
    let message = soon("the next message", messages.next()).await?;
    Some(message.unwrap().event.unwrap())
}

/// Waits for the execution in this state.
async fn until(messages: &mut Messages, state: P) {
    let seen = async {
        loop {
            match next(messages).await.expect("the watch goes on") {
                Sent::Execution(execution) if execution.state() == state => return,
                _ => {}
            }
        }
    };
    soon("the execution", seen).await;
}

/// The last states of the execution and of the task, when the watch has ended.
async fn last(mut messages: Messages) -> (Option<P>, Option<pb::TaskState>) {
    let all = async {
        let mut last = (None, None);
        while let Some(message) = next(&mut messages).await {
            match message {
                Sent::Execution(execution) => last.0 = Some(execution.state()),
                Sent::Task(task) => last.1 = Some(task.state()),
                _ => {}
            }
        }
        last
    };
    soon("the end of the watch", all).await
}

#[tokio::test]
async fn an_end_that_is_older_than_what_was_seen_is_told() {
    let stage = Stage::new(Config::default()).await;
    let mut messages = stage.watch().await;
    stage.run().await;
    until(&mut messages, P::Running).await;
    stage.memory.restore(stage.before.clone());
    // Its revision is the one that was seen of the execution at work.
    stage.agent.finish(stage.attempt, &[], S::Succeeded).await;
    assert_eq!(
        last(messages).await,
        (Some(P::Succeeded), Some(pb::TaskState::Succeeded))
    );
}

#[tokio::test]
async fn what_nobody_tells_after_a_failover_is_found_at_the_next_beat() {
    let stage = Stage::new(Config {
        watch_heartbeat: Duration::from_millis(20),
        ..Config::default()
    })
    .await;
    stage.run().await;
    let mut messages = stage.watch().await;
    until(&mut messages, P::Running).await;
    stage.memory.restore(stage.before.clone());
    until(&mut messages, P::Dispatched).await;
    let store = &stage.bench.store;
    let mut after = store.execution_by_attempt(stage.attempt).await.unwrap().unwrap();
    let before = (after.state, after.attempt_id);
    (after.state, after.finished_at) = (S::Failed, Some(UnixMicros::now()));
    let write = ExecutionWrite {
        before,
        after,
        output: None,
    };
    assert!(store.execution_apply(vec![write], None).await.unwrap()[0].0);
    assert_eq!(last(messages).await, (Some(P::Failed), Some(pb::TaskState::Failed)));
}
