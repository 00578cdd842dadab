//! Watches: the same bytes whenever one begins, in an order that can be relied on.

use ExecutionState as S;
use futures::{StreamExt, stream::BoxStream};
use opslink::{
    chunk,
    event::EventBody,
    id::AttemptId,
    pb,
    pb::{ExecutionState as P, attach_request::Frame as Up, watch_task_response::Event as Sent},
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
};

use super::bench::{Agent, Bench, script, soon};

const TEXTS: [&str; 4] = ["one\n", "two\n", "three\n", "four\n"];

type Messages = BoxStream<'static, Result<pb::WatchTaskResponse, Problem>>;

async fn watch(bench: &Bench, request: pb::WatchTaskRequest) -> Messages {
    bench.engine.watch(request).await.unwrap().boxed()
}

fn chunks_of(task: &str) -> pb::WatchTaskRequest {
    let output = pb::OutputMode::Chunks.into();
    pb::WatchTaskRequest {
        task_id: task.into(),
        output,
        ..Default::default()
    }
}

async fn all(mut messages: Messages) -> Vec<Sent> {
    let mut list = Vec::new();
    while let Some(message) = soon("the next message", messages.next()).await {
        list.push(message.unwrap().event.unwrap());
    }
    list
}

fn text(messages: &[Sent]) -> String {
    let mut text = Vec::new();
    for message in messages {
        if let Sent::Chunk(chunk) = message {
            for event in chunk::decode(chunk).unwrap() {
                if let EventBody::Output { data, .. } = event.body {
                    text.extend_from_slice(&data);
                }
            }
        }
    }
    String::from_utf8(text).unwrap()
}

async fn begun(bench: &Bench) -> (Agent, String, AttemptId) {
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    (agent, task, attempt)
}

#[tokio::test]
async fn live_late_and_half_way_watches_see_the_same_bytes() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    let chunks = script(attempt, &TEXTS, S::Succeeded);
    let live = tokio::spawn(all(watch(&bench, chunks_of(&task)).await));
    let mut middle = Vec::new();
    for chunk in chunks {
        agent.send(Up::Chunk(chunk)).await;
        middle.push(tokio::spawn(all(watch(&bench, chunks_of(&task)).await)));
    }
    let expected = TEXTS.concat();
    assert_eq!(text(&live.await.unwrap()), expected);
    for watch in middle {
        assert_eq!(text(&watch.await.unwrap()), expected);
    }
    assert_eq!(text(&all(watch(&bench, chunks_of(&task)).await).await), expected);
}

#[tokio::test]
async fn a_cloud_that_stops_says_so_instead_of_ending_the_watch_as_complete() {
    let bench = Bench::new().await;
    let (_agent, task, _) = begun(&bench).await;
    let mut messages = watch(&bench, chunks_of(&task)).await;
    soon("the task", messages.next()).await.unwrap().unwrap();
    bench.stop();
    let end = async {
        loop {
            if let Err(problem) = messages.next().await.expect("a reason before the end") {
                return problem;
            }
        }
    };
    let problem = soon("the end", end).await;
    assert_eq!(problem.reason, Reason::Draining);
    assert_eq!(problem.reason.grpc(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_resumed_watch_sends_the_rest_and_nothing_twice() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    agent.finish(attempt, &TEXTS, S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    for next_seq in 0..=4_u64 {
        let positions = vec![pb::AttemptPosition {
            attempt_id: attempt.to_string(),
            next_seq,
        }];
        let request = pb::WatchTaskRequest {
            positions,
            ..chunks_of(&task)
        };
        let messages = all(watch(&bench, request).await).await;
        assert_eq!(text(&messages), TEXTS[next_seq as usize..].concat());
    }
}

#[tokio::test]
async fn the_end_of_an_execution_comes_after_its_output_and_the_task_last() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    let live = tokio::spawn(all(watch(&bench, chunks_of(&task)).await));
    agent.finish(attempt, &TEXTS, S::Failed).await;
    bench.until(&task, &[P::Failed]).await;
    let late = all(watch(&bench, chunks_of(&task)).await).await;
    for messages in [live.await.unwrap(), late] {
        let last = |wanted: fn(&Sent) -> bool| messages.iter().rposition(wanted).unwrap();
        assert!(matches!(&messages[0], Sent::Task(_)));
        let end = last(|sent| matches!(sent, Sent::Execution(execution) if execution.state() == P::Failed));
        assert!(end > last(|sent| matches!(sent, Sent::Chunk(_))));
        let Sent::Task(task) = &messages[last(|sent| matches!(sent, Sent::Task(_)))] else {
            panic!()
        };
        assert_eq!(task.state(), pb::TaskState::Failed);
    }
}

#[tokio::test]
async fn decoded_events_begin_exactly_where_asked() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    agent.finish(attempt, &TEXTS, S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    let positions = vec![pb::AttemptPosition {
        attempt_id: attempt.to_string(),
        next_seq: 2,
    }];
    let output = pb::OutputMode::Events.into();
    let request = pb::WatchTaskRequest {
        output,
        positions,
        ..chunks_of(&task)
    };
    let messages = all(watch(&bench, request).await).await;
    let mut next = 2;
    for message in &messages {
        if let Sent::Events(events) = message {
            assert_eq!((events.first_seq, events.agent_name.as_str()), (next, "web"));
            next += events.events.len() as u64;
        }
    }
    assert_eq!(next, 5);
}

#[tokio::test]
async fn a_chunk_that_cannot_be_read_costs_itself_only() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    let mut chunks = script(attempt, &TEXTS, S::Succeeded);
    chunks[1].payload = bytes::Bytes::from_static(b"no zstd frame");
    for chunk in chunks {
        agent.send(Up::Chunk(chunk)).await;
    }
    bench.until(&task, &[P::Succeeded]).await;
    let output = pb::OutputMode::Events.into();
    let request = pb::WatchTaskRequest {
        output,
        ..chunks_of(&task)
    };
    let messages = all(watch(&bench, request).await).await;
    let events = messages.iter().filter_map(|message| match message {
        Sent::Events(events) => Some(events),
        _ => None,
    });
    let first: Vec<_> = events
        .map(|events| (events.first_seq, events.events[0].clone()))
        .collect();
    assert_eq!(first.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let Some(pb::event::Body::Note(note)) = &first[1].1.body else {
        panic!("{first:?}")
    };
    assert_eq!(note.reason, "CHUNK_INVALID");
    let request = pb::ReadLogRequest {
        attempt_id: attempt.to_string(),
        decode: true,
        ..Default::default()
    };
    let read: Vec<_> = bench.engine.read_log(request).await.unwrap().collect().await;
    assert_eq!(read.into_iter().filter(Result::is_ok).count(), 5);
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_costs_the_task_nothing_and_still_gets_everything() {
    let bench = Bench::new().await;
    let (mut agent, task, attempt) = begun(&bench).await;
    let slow = watch(&bench, chunks_of(&task)).await;
    // Incompressible, so that the ring runs over while the watcher sleeps.
    let mut random = fastrand::Rng::with_seed(7);
    let texts: Vec<String> = (0..450)
        .map(|_| std::iter::repeat_with(|| random.alphanumeric()).take(60_000).collect())
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    agent.finish(attempt, &texts, S::Succeeded).await;
    assert_eq!(agent.archived(attempt).await, 451);
    assert!(text(&all(slow).await) == texts.concat(), "the bytes differ");
}

#[tokio::test]
async fn a_watch_that_does_not_follow_ends_at_once() {
    let bench = Bench::new().await;
    let (_agent, task, _attempt) = begun(&bench).await;
    let messages = all(watch(
        &bench,
        pb::WatchTaskRequest {
            no_follow: true,
            ..chunks_of(&task)
        },
    )
    .await)
    .await;
    assert!(matches!(messages.as_slice(), [Sent::Task(_), Sent::Execution(_)]));
}

#[tokio::test]
async fn stored_output_is_read_from_any_line_and_from_its_end() {
    let bench = Bench::new().await;
    let (agent, task, attempt) = begun(&bench).await;
    agent.finish(attempt, &TEXTS, S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    let read = async |start| {
        let attempt_id = attempt.to_string();
        let request = pb::ReadLogRequest {
            attempt_id,
            start: Some(start),
            ..Default::default()
        };
        let messages: Vec<_> = bench.engine.read_log(request).await.unwrap().collect().await;
        let chunks = messages
            .into_iter()
            .map(|message| Sent::Chunk(message.unwrap().chunk.unwrap()));
        text(&chunks.collect::<Vec<_>>())
    };
    use pb::read_log_request::Start;
    assert_eq!(read(Start::FromSeq(3)).await, "four\n");
    assert!(read(Start::FromLine(2)).await.ends_with("three\nfour\n"));
    assert!(read(Start::TailLines(1)).await.ends_with("four\n"));
    let index = pb::ListChunksRequest {
        attempt_id: attempt.to_string(),
        ..Default::default()
    };
    let index = bench.engine.list_chunks(index).await.unwrap();
    assert_eq!(index.chunks.len(), 5);
    assert!(index.chunks.iter().all(|chunk| chunk.payload.is_empty()));
}
