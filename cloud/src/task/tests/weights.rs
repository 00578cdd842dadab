//! Streams that turn out to be heavy: they count as several, and end where there is no room for that.

use std::{iter, sync::Arc};

use futures::StreamExt;
use opslink::{
    chunk::{Encoder, SEAL_RAW_BYTES},
    event::{ColumnData, Event, EventBody, TableRows},
    id::AttemptId,
    pb,
    pb::{ExecutionState as P, attach_request::Frame as Up, watch_task_response::Event as Sent},
    reason::Reason,
    task::ExecutionState as S,
};

use super::{
    bench::{Bench, soon},
    records::ended_as,
};
use crate::identity::{STREAMS_OF_ONE, Streams};

const ACTOR: &str = "ann";
/// Of this output: a small chunk, the one in question, and the end.
const CHUNKS: usize = 3;

/// Text that compression makes a quarter smaller, and no more.
fn noise(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    iter::repeat_with(|| random.alphanumeric()).take(bytes).collect()
}

/// A task that has ended, with so much in one of its chunks.
async fn ended(bench: &Bench, bytes: usize) -> (String, AttemptId) {
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.finish(attempt, &["small\n", &noise(bytes)], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    (task, attempt)
}

fn log(attempt: AttemptId, decode: bool) -> pb::ReadLogRequest {
    pb::ReadLogRequest {
        attempt_id: attempt.to_string(),
        decode,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_log_with_a_large_chunk_counts_as_four_and_ends_where_there_is_no_room_for_it() {
    let bench = Bench::new().await;
    let (_, attempt) = ended(&bench, 4 * SEAL_RAW_BYTES).await;
    for decode in [false, true] {
        let streams = Arc::new(Streams::default());
        let mut light: Vec<_> = (0..STREAMS_OF_ONE - 3).map(|_| streams.open(ACTOR).unwrap()).collect();
        let own = streams.open(ACTOR).unwrap();
        let log_of = async |weight| {
            let messages = bench.engine.read_log_weighing(log(attempt, decode), weight).await;
            soon("the log", messages.unwrap().collect::<Vec<_>>()).await
        };
        let told = log_of(own.weight()).await;
        assert_eq!(told.len(), 2, "what came before, and why there is no more");
        assert!(told[0].is_ok());
        assert_eq!(told[1].as_ref().unwrap_err().reason, Reason::TooManyStreams);

        drop((own, light.pop()));
        let own = streams.open(ACTOR).unwrap();
        let told = log_of(own.weight()).await;
        assert_eq!(told.iter().filter(|piece| piece.is_ok()).count(), CHUNKS);
        assert_eq!(streams.open(ACTOR).unwrap_err().reason, Reason::TooManyStreams);
        drop(own);
        let free: Vec<_> = (0..4).map(|_| streams.open(ACTOR).unwrap()).collect();
        assert_eq!(light.len() + free.len(), STREAMS_OF_ONE, "its weight went with it");
    }
}

#[tokio::test]
async fn a_watch_with_a_large_chunk_ends_where_there_is_no_room_for_it() {
    let bench = Bench::new().await;
    let (task, _) = ended(&bench, 4 * SEAL_RAW_BYTES).await;
    for output in [pb::OutputMode::Chunks, pb::OutputMode::Events] {
        let request = pb::WatchTaskRequest {
            task_id: task.clone(),
            output: output.into(),
            ..Default::default()
        };
        let streams = Arc::new(Streams::default());
        let open: Vec<_> = (0..STREAMS_OF_ONE).map(|_| streams.open(ACTOR).unwrap()).collect();
        let messages = bench.engine.watch_weighing(request, open[0].weight()).await.unwrap();
        let mut told = soon("its end", messages.collect::<Vec<_>>()).await;
        let end = told.pop().unwrap();
        assert_eq!(end.unwrap_err().reason, Reason::TooManyStreams);
        let output = told.into_iter().map(|message| message.unwrap().event.unwrap());
        let output = output.filter(|event| matches!(event, Sent::Chunk(_) | Sent::Events(_)));
        assert_eq!(output.count(), 1, "what came before it");
    }
}

/// A full chunk, with the read that closed it: what a runner makes of whatever is written fast.
#[tokio::test]
async fn ordinary_output_makes_no_stream_heavier() {
    let bench = Bench::new().await;
    let (_, attempt) = ended(&bench, SEAL_RAW_BYTES + (60 << 10)).await;
    let streams = Arc::new(Streams::default());
    let open: Vec<_> = (0..STREAMS_OF_ONE).map(|_| streams.open(ACTOR).unwrap()).collect();
    for decode in [false, true] {
        let weight = open[0].weight();
        let pieces = bench.engine.read_log_weighing(log(attempt, decode), weight).await;
        let pieces = soon("the log", pieces.unwrap().collect::<Vec<_>>()).await;
        assert_eq!(pieces.iter().filter(|piece| piece.is_ok()).count(), CHUNKS);
    }
}

/// A task that has ended, with rows whose cells are NULL: 24 of 1,900 columns in 230 KB of a chunk, and 4 MiB in memory.
async fn ended_with_nulls(bench: &Bench) -> (String, AttemptId) {
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let mut encoder = Encoder::new(attempt, 1);
    for _ in 0..24 {
        let null = ColumnData {
            lengths: vec![0],
            ..ColumnData::default()
        };
        let rows = TableRows {
            table: 0,
            row_count: 1,
            columns: vec![null; 1_900],
        };
        encoder.push(Event {
            time_us: 1,
            body: EventBody::TableRows(rows),
        });
    }
    let rows = encoder.seal().unwrap();
    assert!(
        rows.raw_size < SEAL_RAW_BYTES as u64,
        "no large chunk: {}",
        rows.raw_size
    );
    encoder.push(Event {
        time_us: 2,
        body: EventBody::End(ended_as(S::Succeeded)),
    });
    for chunk in [rows, encoder.seal().unwrap()] {
        agent.send(Up::Chunk(chunk)).await;
    }
    bench.until(&task, &[P::Succeeded]).await;
    (task, attempt)
}

/// Forty logs of such rows took 83 MiB and counted as forty.
#[tokio::test]
async fn decoded_rows_weigh_what_they_take_and_not_what_their_chunk_has() {
    let bench = Bench::new().await;
    let (task, attempt) = ended_with_nulls(&bench).await;
    let log_of = async |decode, weight| {
        let pieces = bench.engine.read_log_weighing(log(attempt, decode), weight).await;
        soon("the log", pieces.unwrap().collect::<Vec<_>>()).await
    };
    let streams = Arc::new(Streams::default());
    let mut open: Vec<_> = (0..STREAMS_OF_ONE).map(|_| streams.open(ACTOR).unwrap()).collect();
    assert!(
        log_of(false, open[0].weight()).await.iter().all(Result::is_ok),
        "as stored"
    );
    let told = log_of(true, open[0].weight()).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].as_ref().unwrap_err().reason, Reason::TooManyStreams);
    let request = pb::WatchTaskRequest {
        task_id: task,
        output: pb::OutputMode::Events.into(),
        ..Default::default()
    };
    let messages = bench.engine.watch_weighing(request, open[0].weight()).await.unwrap();
    let mut told = soon("its end", messages.collect::<Vec<_>>()).await;
    assert_eq!(told.pop().unwrap().unwrap_err().reason, Reason::TooManyStreams);

    open.truncate(1);
    assert!(log_of(true, open[0].weight()).await.iter().all(Result::is_ok));
    let free = iter::from_fn(|| streams.open(ACTOR).ok()).collect::<Vec<_>>().len();
    let weight = STREAMS_OF_ONE - free;
    assert!(
        (5..=7).contains(&weight),
        "4 MiB as events, beside the stream's own: {weight}"
    );
}
