//! Compares stored output with the digests that the runner reported at its end.
//!
//! Small attempts (one small chunk) are compared before their end is written, which costs some microseconds. All
//! others get a row of work with their end, and are read back from the store, a few at a time, so that ingest never
//! waits for a hash and one huge output delays no other.

use std::collections::BTreeMap;

use async_trait::async_trait;
use opslink::{
    chunk::{self, EventsTally},
    event::{EventBody, Stream},
    id::AttemptId,
    pb,
    task::{ExecutionState, Outcome},
};

use super::{commit::Commit, log::chunk_pb, machine::Event};
use crate::{
    blocking::off_thread,
    store::{
        self,
        record::{ChunkStart, Execution},
    },
    work::{Worked, Worker},
};

/// Largest output, uncompressed, that is compared on the way in.
pub(crate) const INLINE_RAW_MAX: u64 = 64 << 10;
/// Payload that is read at once.
const READ_BYTES: usize = 4 << 20;
/// Length and hash of each stream, and of what is not output, as its events come.
#[derive(Default)]
struct Tally {
    streams: BTreeMap<Stream, (u64, blake3::Hasher)>,
    events: EventsTally,
}

impl Tally {
    fn add(&mut self, chunk: &pb::LogChunk) -> Result<(), chunk::Error> {
        let streams = &mut self.streams;
        self.events.add_chunk(chunk, |event| {
            if let EventBody::Output { stream, data } = event.body {
                let (length, hasher) = streams.entry(stream).or_default();
                *length += data.len() as u64;
                hasher.update(&data);
            }
        })
    }

    /// Says whether every stream and every other event is as reported, and nothing was stored that was not reported.
    fn equals(&self, outcome: &Outcome) -> bool {
        let empty = (0, blake3::Hasher::new());
        let as_reported = outcome.streams.iter().all(|digest| {
            let (length, hasher) = self.streams.get(&digest.stream).unwrap_or(&empty);
            *length == digest.bytes && hasher.finalize().as_bytes().as_slice() == digest.blake3
        });
        let reported = |stream: &Stream| outcome.streams.iter().any(|digest| digest.stream == *stream);
        as_reported
            && self.events.equals(outcome.events.as_ref())
            && self
                .streams
                .iter()
                .all(|(stream, (length, _))| *length == 0 || reported(stream))
    }
}

/// Says whether this chunk alone is all the output that its outcome reports. Microseconds, for small chunks.
pub(crate) fn is_whole(chunk: &pb::LogChunk, outcome: &Outcome) -> bool {
    let mut tally = Tally::default();
    chunk.first_seq == 0 && chunk.raw_size <= INLINE_RAW_MAX && tally.add(chunk).is_ok() && tally.equals(outcome)
}

/// Kind of its rows; the key is the attempt.
pub(super) const KIND: &str = "verify";

/// The attempt whose output is to be compared after this change: it has just ended, or was left unverified, and there
/// is something to compare.
pub(super) fn is_due(before: ExecutionState, after: &Execution) -> Option<AttemptId> {
    let ends = !before.is_terminal() && after.state.is_terminal();
    let has_output = after
        .outcome
        .as_ref()
        .is_some_and(|outcome| !outcome.streams.is_empty());
    after
        .attempt_id
        .filter(|_| ends && has_output && !after.output_verified)
}

/// Compares ended attempts.
pub(super) struct Comparisons {
    pub(super) commit: Commit,
}

#[async_trait]
impl Worker for Comparisons {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn work(&self, key: &str) -> store::Result<Worked> {
        let attempt: AttemptId = key.parse().map_err(|_| store::Error::Corrupt {
            what: "comparison",
            message: format!("`{key}` is no attempt"),
        })?;
        verify(&self.commit, attempt).await?;
        Ok(Worked::Done)
    }
}

async fn verify(commit: &Commit, attempt: AttemptId) -> store::Result<()> {
    let store = &commit.store;
    let mut tally = Tally::default();
    let mut next_seq = 0;
    let outcome = loop {
        let chunks = store.chunk_read(attempt, ChunkStart::Seq(next_seq), READ_BYTES).await?;
        let Some(last) = chunks.last() else { return Ok(()) };
        next_seq = last.next_seq();
        let outcome = last.outcome.clone();
        let work = off_thread(move || {
            let result = chunks.iter().try_for_each(|chunk| tally.add(&chunk_pb(chunk)));
            (tally, result)
        });
        // The work neither panics nor is canceled but by the end of the process.
        let Some((so_far, result)) = work.await else {
            return Ok(());
        };
        tally = so_far;
        if let Err(error) = result {
            tracing::warn!(attempt_id = %attempt, %error, "stored output cannot be decoded");
            return Ok(());
        }
        if let Some(outcome) = outcome {
            break outcome;
        }
    };
    if !tally.equals(&outcome) {
        tracing::warn!(attempt_id = %attempt, "stored output is not what the runner reported");
        return Ok(());
    }
    match store.execution_by_attempt(attempt).await? {
        Some(execution) if execution.attempt_id == Some(attempt) && !execution.output_verified => {
            commit
                .change_all(vec![execution], |_| vec![Event::Verified { attempt }])
                .await
        }
        Some(_) | None => Ok(()),
    }
}
