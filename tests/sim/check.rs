//! What must be true after every run, whatever the network did.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    chunk,
    event::{EventBody, Stream},
    id::AttemptId,
    pb,
    task::{ExecutionState, FakeStep, Outcome},
};
use opslink_cloud::store::{
    Store,
    record::{Chunk, ChunkStart, Execution, TaskFilter},
};

use crate::{script::Job, world::Shared};

/// Checks the store against the script, and writes what it holds into the trace.
pub(crate) async fn everything(store: &dyn Store, shared: &Shared) {
    let filter = TaskFilter {
        limit: 1_000,
        ..Default::default()
    };
    let mut tasks = store.task_list(filter).await.expect("readable");
    tasks.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    assert_eq!(tasks.len(), shared.jobs.len(), "a request was done twice or never");
    for (number, (task, job)) in tasks.iter().zip(&shared.jobs).enumerate() {
        let executions = store.execution_list(task.id, None, 100).await.expect("readable");
        assert_eq!(executions.len(), job.agents.len());
        for execution in executions {
            let what = format!("task {number} on {}", execution.agent_name);
            let chunks = read(store, execution.attempt_id).await;
            execution_is_right(&what, job, &execution, &chunks, shared);
            if number == 0 {
                watcher_saw_all(&what, &execution, &chunks, shared);
            }
            trace(&what, &execution, &chunks, shared);
        }
        let attempts = store.attempt_list(task.id).await.expect("readable");
        assert!(
            attempts.iter().all(|attempt| attempt.number == 1),
            "task {number}: nobody asked for a retry"
        );
    }
}

async fn read(store: &dyn Store, attempt: Option<AttemptId>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let Some(attempt) = attempt else { return chunks };
    loop {
        let start = ChunkStart::Seq(chunks.last().map_or(0, Chunk::next_seq));
        let more = store.chunk_read(attempt, start, 1 << 20).await.expect("readable");
        if more.is_empty() {
            return chunks;
        }
        chunks.extend(more);
    }
}

fn execution_is_right(what: &str, job: &Job, execution: &Execution, chunks: &[Chunk], shared: &Shared) {
    let starts = shared.starts.lock().unwrap();
    let agent = job
        .agents
        .iter()
        .find(|agent| **agent == execution.agent_name)
        .expect("a chosen agent");
    let starts = starts.get(&(job.marker.clone(), *agent)).copied().unwrap_or(0);
    assert!(starts <= 1, "{what} was started {starts} times");
    assert_eq!(
        execution.state,
        expected_state(what, job, execution, starts),
        "{what}: {:?}",
        execution.outcome
    );
    let Some(outcome) = &execution.outcome else {
        assert!(chunks.is_empty() && starts == 0, "{what} has output and no outcome");
        return;
    };
    if chunks.is_empty() {
        assert_eq!(starts, 0, "{what} ran, and nothing of it is stored");
        return;
    }

    let (stdout, stderr) = output(what, chunks, outcome);
    let (full_out, full_err) = job.output();
    if job.may_be_cut() {
        assert!(
            full_out.starts_with(&stdout) && full_err.starts_with(&stderr),
            "{what}: other bytes than were written"
        );
    } else {
        assert!(full_out == stdout, "{what}: stdout is not what was written");
        assert!(full_err == stderr, "{what}: stderr is not what was written");
        assert_eq!(starts, 1, "{what} did not start");
    }
    for (stream, bytes) in [(Stream::Stdout, &stdout), (Stream::Stderr, &stderr)] {
        let digest = outcome
            .streams
            .iter()
            .find(|digest| digest.stream == stream)
            .expect("both streams have digests");
        assert_eq!(digest.bytes, bytes.len() as u64, "{what}: {stream:?}");
        assert_eq!(
            digest.blake3,
            Bytes::copy_from_slice(blake3::hash(bytes).as_bytes()),
            "{what}: {stream:?}"
        );
    }
    assert!(
        execution.output_verified,
        "{what}: the cloud has not compared the output"
    );
}

/// No fault of this simulation takes a machine away: nothing may be lost, expire or be refused.
fn expected_state(what: &str, job: &Job, execution: &Execution, starts: u32) -> ExecutionState {
    let by_itself = match job.steps.last() {
        Some(FakeStep::Exit(0)) => ExecutionState::Succeeded,
        Some(FakeStep::Exit(_) | FakeStep::Fail(_)) => ExecutionState::Failed,
        Some(_) | None => ExecutionState::Succeeded,
    };
    match execution.state {
        ExecutionState::Canceled if job.cancel_after.is_some() => ExecutionState::Canceled,
        ExecutionState::TimedOut if job.may_be_cut() => {
            assert_eq!(starts, 1, "{what} ran out of time without a start");
            ExecutionState::TimedOut
        }
        _ => by_itself,
    }
}

/// Decodes the stored chunks: contiguous, ended once, and by the outcome that the execution has.
fn output(what: &str, chunks: &[Chunk], outcome: &Outcome) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut next_seq, mut next_line, mut ends) = (0, 0, 0);
    for stored in chunks {
        assert_eq!(
            (stored.first_seq, stored.first_line),
            (next_seq, next_line),
            "{what}: a gap or a repetition"
        );
        assert_eq!(ends, 0, "{what}: something follows the end");
        (next_seq, next_line) = (stored.next_seq(), stored.first_line + stored.line_count);
        let mut lines = 0;
        for event in chunk::decode(&wire(stored)).unwrap_or_else(|error| panic!("{what}: {error}")) {
            match event.body {
                EventBody::Output { stream, data } => {
                    lines += data.iter().filter(|byte| **byte == b'\n').count() as u64;
                    match stream {
                        Stream::Stdout => stdout.extend_from_slice(&data),
                        Stream::Stderr => stderr.extend_from_slice(&data),
                    }
                }
                EventBody::End(end) => {
                    assert_eq!(end, *outcome, "{what}: two different ends");
                    ends += 1;
                }
                EventBody::Note(_) => {}
                other => panic!("{what}: a fake does not say {other:?}"),
            }
        }
        assert_eq!(lines, stored.line_count, "{what}: lines of a chunk");
    }
    assert_eq!(ends, 1, "{what}: ends");
    (stdout, stderr)
}

fn watcher_saw_all(what: &str, execution: &Execution, chunks: &[Chunk], shared: &Shared) {
    let watched = shared.watched.lock().unwrap();
    let none = Vec::new();
    let seen = execution
        .attempt_id
        .and_then(|attempt| watched.get(&attempt.to_string()))
        .unwrap_or(&none);
    let stored: Vec<_> = chunks.iter().map(wire).collect();
    assert!(
        *seen == stored,
        "{what}: the watcher saw {} chunks, {} are stored",
        seen.len(),
        stored.len()
    );
}

/// As the API shows it.
fn wire(stored: &Chunk) -> pb::LogChunk {
    pb::LogChunk {
        attempt_id: stored.attempt_id.to_string(),
        first_seq: stored.first_seq,
        event_count: stored.event_count,
        first_line: stored.first_line,
        line_count: stored.line_count,
        raw_size: stored.raw_size,
        first_time_us: stored.first_time.0,
        last_time_us: stored.last_time.0,
        codec: stored.codec,
        payload: stored.payload.clone(),
        outcome: stored.outcome.clone().map(Into::into),
    }
}

/// Everything but ids and keys, which are random.
fn trace(what: &str, execution: &Execution, chunks: &[Chunk], shared: &Shared) {
    let time = |time: Option<opslink::time::UnixMicros>| time.map(|time| shared.relative(time));
    shared.trace(format_args!(
        "{what}: {} started {:?} finished {:?} revision {}",
        execution.state.word(),
        time(execution.started_at),
        time(execution.finished_at),
        execution.revision,
    ));
    let sizes: BTreeMap<u64, (u32, u64, i64)> = chunks
        .iter()
        .map(|chunk| {
            (
                chunk.first_seq,
                (chunk.event_count, chunk.raw_size, shared.relative(chunk.last_time)),
            )
        })
        .collect();
    shared.trace(format_args!("{what}: {sizes:?}"));
}
