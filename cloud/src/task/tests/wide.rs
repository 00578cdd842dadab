//! Watches of tasks on more agents than one page holds.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    pb::{ExecutionState as P, watch_task_response::Event as Sent},
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
};

use super::{
    bench::{Bench, audit, soon},
    records,
};
use crate::{
    identity::{STREAMS_OF_ONE, Streams},
    store::record::{Execution, ExecutionWrite},
};

/// Some pages of a watch.
const WIDTH: usize = 1_000;

fn name(number: usize) -> String {
    format!("agent-{number:04}")
}

async fn stored(bench: &Bench, state: ExecutionState) -> TaskId {
    stored_on(bench, WIDTH, state).await
}

/// Stores a task on so many agents, behind the engine's back.
async fn stored_on(bench: &Bench, width: usize, state: ExecutionState) -> TaskId {
    let task = records::task();
    let execution = |number| Execution {
        state,
        attempt_id: state.is_terminal().then(AttemptId::new),
        attempt_number: u32::from(state.is_terminal()),
        ..records::waiting(task.id, AgentId::new(), name(number))
    };
    let executions: Vec<Execution> = (0..width).map(execution).collect();
    let id = task.id;
    bench.store.task_create(task, executions, audit()).await.unwrap();
    id
}

fn request(task: TaskId, output: pb::OutputMode) -> pb::WatchTaskRequest {
    pb::WatchTaskRequest {
        task_id: task.to_string(),
        output: output.into(),
        no_follow: true,
        ..Default::default()
    }
}

/// Names and states of executions, in the order in which they are sent.
async fn executions(mut messages: BoxStream<'static, Result<pb::WatchTaskResponse, Problem>>) -> Vec<(String, P)> {
    let mut list = Vec::new();
    while let Some(message) = soon("the next message", messages.next()).await {
        if let Sent::Execution(execution) = message.unwrap().event.unwrap() {
            list.push((execution.agent_name.clone(), execution.state()));
        }
    }
    list
}

#[tokio::test]
async fn a_watch_that_is_not_read_keeps_a_page_and_not_the_task() {
    let bench = Bench::new().await;
    let task = stored(&bench, ExecutionState::Queued).await;
    let watch = bench
        .engine
        .watch(request(task, pb::OutputMode::Unspecified))
        .await
        .unwrap()
        .boxed();
    // Changed after the watch began, and before anything of it was taken.
    let before = name(WIDTH - 2);
    let last = bench
        .store
        .execution_list(task, Some(&before), 1)
        .await
        .unwrap()
        .remove(0);
    let write = ExecutionWrite {
        before: (last.state, last.attempt_id),
        after: Execution {
            state: ExecutionState::Canceled,
            ..last
        },
        output: None,
    };
    assert!(bench.store.execution_apply(vec![write], None).await.unwrap()[0].0);
    let sent = executions(watch).await;
    assert_eq!(sent.len(), WIDTH);
    for (number, (sent, state)) in sent.iter().enumerate() {
        let expected = if number == WIDTH - 1 { P::Canceled } else { P::Queued };
        assert_eq!((sent.as_str(), *state), (name(number).as_str(), expected));
    }
}

#[tokio::test]
async fn every_execution_of_a_wide_task_comes_once_and_once_more_after_its_output() {
    let bench = Bench::new().await;
    let task = stored(&bench, ExecutionState::Succeeded).await;
    let watch = bench.engine.watch(request(task, pb::OutputMode::Chunks)).await.unwrap();
    let sent = executions(watch.boxed()).await.into_iter().map(|(name, _)| name);
    let sent: Vec<String> = sent.collect();
    let expected: Vec<String> = (0..2).flat_map(|_| (0..WIDTH).map(name)).collect();
    assert!(sent == expected, "{} executions", sent.len());
}

#[tokio::test]
async fn agents_on_the_last_page_are_found_by_name_and_others_are_not() {
    let bench = Bench::new().await;
    let task = stored(&bench, ExecutionState::Succeeded).await;
    let watch = async |agents: Vec<String>| {
        let request = pb::WatchTaskRequest {
            agents,
            ..request(task, pb::OutputMode::Unspecified)
        };
        bench.engine.watch(request).await.map(StreamExt::boxed)
    };
    let found = watch(vec![name(WIDTH - 1); 10_000]).await.unwrap();
    let found = executions(found).await;
    assert_eq!(found.len(), 1);
    let missing = watch(vec![name(0), name(WIDTH)]).await.err().unwrap();
    assert_eq!(missing.reason, Reason::AgentNotFound);
}

#[tokio::test]
async fn a_watch_of_ten_thousand_executions_counts_as_three_and_one_of_a_thousand_as_one() {
    let bench = Bench::new().await;
    let wide = stored_on(&bench, 10_000, ExecutionState::Succeeded).await;
    let narrow = stored(&bench, ExecutionState::Succeeded).await;
    let streams = Arc::new(Streams::default());
    let open = || streams.open("ann");
    let watch = async |task, weight| {
        let request = request(task, pb::OutputMode::Unspecified);
        bench.engine.watch_weighing(request, weight).await.map(StreamExt::boxed)
    };
    let mut light: Vec<_> = (0..STREAMS_OF_ONE - 2).map(|_| open().unwrap()).collect();
    let own = open().unwrap();
    drop(watch(narrow, own.weight()).await.expect("it takes no further room"));
    let refused = watch(wide, own.weight())
        .await
        .err()
        .expect("there is room for one more");
    assert_eq!(refused.reason, Reason::TooManyStreams);

    drop((own, light.pop()));
    let own = open().unwrap();
    let watched = watch(wide, own.weight()).await.expect("there is room for all of it");
    assert_eq!(open().unwrap_err().reason, Reason::TooManyStreams);
    drop((own, watched));
    let free: Vec<_> = (0..3).map(|_| open().unwrap()).collect();
    assert_eq!(light.len() + free.len(), STREAMS_OF_ONE, "its weight went with it");
}
