//! Stored output against what was really said.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    chunk,
    event::{EventBody, Stream},
    id::AttemptId,
    pb,
    task::{ExecutionState, Outcome},
};
use opslink_cloud::store::record::{Attempt, Chunk, Execution};

use super::is_excused;
use crate::{script::Job, shared::Shared};

/// Output as a reader puts it together: bytes of each stream, and everything of tables in its order.
#[derive(Debug, Default, PartialEq)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tables: Vec<EventBody>,
}

impl Said {
    fn add(&mut self, event: &EventBody) {
        match event {
            EventBody::Output {
                stream: Stream::Stdout,
                data,
            } => self.stdout.extend_from_slice(data),
            EventBody::Output {
                stream: Stream::Stderr,
                data,
            } => self.stderr.extend_from_slice(data),
            EventBody::Note(_) | EventBody::End(_) => {}
            other => self.tables.push(other.clone()),
        }
    }

    fn begins_with(&self, other: &Self) -> bool {
        self.stdout.starts_with(&other.stdout)
            && self.stderr.starts_with(&other.stderr)
            && self.tables.starts_with(&other.tables)
    }
}

/// Checks the output of an attempt.
pub(super) fn is_right(
    what: &str,
    job: &Job,
    agent: &str,
    attempt: &Attempt,
    chunks: &[Chunk],
    is_verified: bool,
    shared: &Shared,
) {
    let runs = shared.record.runs();
    let mut really = Said::default();
    let run = runs.get(&attempt.id).map(|runs| &runs[0]);
    for event in run.iter().flat_map(|run| &run.events) {
        really.add(event);
    }
    let (stored, ends) = read(what, attempt, chunks);
    let is_big = job.rows.is_some_and(|rows| rows.last_cell > 2 << 20);
    let excused = is_excused(agent, shared);
    if !really.begins_with(&stored) {
        // A row that is too big becomes a note; then nothing may call the output complete.
        assert!(
            !is_verified,
            "{what}: the output is called verified, and is not what was said"
        );
        assert!(is_big, "{what}: stored is what was not said");
        return;
    }
    assert!(
        !is_verified || stored == really,
        "{what}: the output is called verified, and {} of {} bytes, {} of {} rows are there",
        stored.stdout.len() + stored.stderr.len(),
        really.stdout.len() + really.stderr.len(),
        stored.tables.len(),
        really.tables.len()
    );
    let has_end = ends == 1;
    let ran_to_an_end = matches!(
        attempt.state,
        ExecutionState::Succeeded | ExecutionState::Failed | ExecutionState::TimedOut
    );
    if ran_to_an_end && !excused {
        assert!(has_end, "{what} ran, and its end is not stored");
        assert!(
            stored == really || is_big,
            "{what}: not everything that was said is stored"
        );
    }
    if run.is_some() && !excused {
        assert!(has_end, "{what} ran, and its end is not stored");
    }
    if ran_to_an_end && !excused && !run.is_some_and(|run| run.was_cut) {
        let (full_out, full_err) = job.output();
        assert!(stored.stdout == full_out, "{what}: stdout is not what was asked for");
        assert!(stored.stderr == full_err, "{what}: stderr is not what was asked for");
    }
    if let Some(outcome) = attempt.outcome.as_ref().filter(|outcome| !outcome.streams.is_empty()) {
        digests_are_right(what, outcome, &stored, excused);
        // Only the newest attempt of an execution has the mark; older ones lost it with their retry.
        let newest = !shared.plan.wants(crate::plan::Deed::Retry(job.number()));
        assert!(
            is_verified || excused || is_big || !newest,
            "{what}: the cloud has not compared the output"
        );
    }
}

fn digests_are_right(what: &str, outcome: &Outcome, stored: &Said, excused: bool) {
    for (stream, bytes) in [(Stream::Stdout, &stored.stdout), (Stream::Stderr, &stored.stderr)] {
        let digest = outcome
            .streams
            .iter()
            .find(|digest| digest.stream == stream)
            .expect("both streams have digests");
        let same = digest.bytes == bytes.len() as u64
            && digest.blake3 == Bytes::copy_from_slice(blake3::hash(bytes).as_bytes());
        assert!(same || excused, "{what}: {stream:?} has another digest");
    }
}

/// Decodes the stored chunks: contiguous, ended at most once, and by the outcome that the attempt has.
fn read(what: &str, attempt: &Attempt, chunks: &[Chunk]) -> (Said, u32) {
    let mut said = Said::default();
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
            if let EventBody::Output { data, .. } = &event.body {
                lines += data.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            if let EventBody::End(end) = &event.body {
                let told = attempt.outcome.as_ref();
                let late = attempt.state == ExecutionState::Lost;
                assert!(late || told == Some(end), "{what}: two different ends");
                ends += 1;
            }
            said.add(&event.body);
        }
        assert_eq!(lines, stored.line_count, "{what}: lines of a chunk");
    }
    (said, ends)
}

/// A watcher who saw the end has seen what is stored, chunk by chunk.
pub(super) fn watcher_saw_all(what: &str, attempt: AttemptId, chunks: &[Chunk], shared: &Shared) {
    let watched = shared.watched.lock().unwrap();
    let none = Vec::new();
    let seen = watched.get(&attempt.to_string()).unwrap_or(&none);
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

/// Writes everything but ids and keys, which are random.
pub(super) fn trace<'a>(what: &str, execution: &Execution, chunks: impl Iterator<Item = &'a Chunk>, shared: &Shared) {
    let time = |time: Option<opslink::time::UnixMicros>| time.map(|time| shared.relative(time));
    shared.trace(format_args!(
        "{what}: {} started {:?} finished {:?} revision {}",
        execution.state.word(),
        time(execution.started_at),
        time(execution.finished_at),
        execution.revision,
    ));
    let sizes: BTreeMap<u64, (u32, u64, i64)> = chunks
        .filter(|chunk| Some(chunk.attempt_id) == execution.attempt_id)
        .map(|chunk| {
            (
                chunk.first_seq,
                (chunk.event_count, chunk.raw_size, shared.relative(chunk.last_time)),
            )
        })
        .collect();
    shared.trace(format_args!("{what}: {sizes:?}"));
}
