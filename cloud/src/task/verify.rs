//! Compares stored output with the digests that the runner reported at its end.
//!
//! Small attempts (one small chunk) are compared before their end is written, which costs some microseconds. All
//! others are read back from the store afterwards, one after the other, so that ingest never waits for a hash.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use opslink::{
    chunk,
    event::{EventBody, Stream},
    id::AttemptId,
    pb,
    task::Outcome,
};
use tokio::sync::mpsc;

use super::{Engine, events::Note, view::chunk_pb};
use crate::{
    blocking::off_thread,
    store::{
        self,
        record::{ChunkStart, Execution},
    },
};

/// Largest output, uncompressed, that is compared on the way in.
pub(crate) const INLINE_RAW_MAX: u64 = 64 << 10;
/// Payload that is read at once.
const READ_BYTES: usize = 4 << 20;
/// Attempts that are remembered as asked for; 16 bytes each.
const ASKED_MAX: usize = 65_536;
/// Between two tries when the store is away.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Length and hash of each stream, as its events come.
#[derive(Default)]
struct Tally(BTreeMap<Stream, (u64, blake3::Hasher)>);

impl Tally {
    fn add(&mut self, chunk: &pb::LogChunk) -> Result<(), chunk::Error> {
        for event in chunk::decode(chunk)? {
            if let EventBody::Output { stream, data } = event.body {
                let (length, hasher) = self.0.entry(stream).or_default();
                *length += data.len() as u64;
                hasher.update(&data);
            }
        }
        Ok(())
    }

    /// Says whether every stream is as reported, and nothing was stored that was not reported.
    fn equals(&self, outcome: &Outcome) -> bool {
        let empty = (0, blake3::Hasher::new());
        let as_reported = outcome.streams.iter().all(|digest| {
            let (length, hasher) = self.0.get(&digest.stream).unwrap_or(&empty);
            *length == digest.bytes && hasher.finalize().as_bytes().as_slice() == digest.blake3
        });
        let reported = |stream: &Stream| outcome.streams.iter().any(|digest| digest.stream == *stream);
        as_reported
            && self
                .0
                .iter()
                .all(|(stream, (length, _))| *length == 0 || reported(stream))
    }
}

/// Says whether this chunk alone is all the output that its outcome reports. Microseconds, for small chunks.
pub(crate) fn is_whole(chunk: &pb::LogChunk, outcome: &Outcome) -> bool {
    let mut tally = Tally::default();
    chunk.first_seq == 0 && chunk.raw_size <= INLINE_RAW_MAX && tally.add(chunk).is_ok() && tally.equals(outcome)
}

/// Attempts whose comparison this process has been asked for. One that failed is not tried again before a restart.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashSet<AttemptId>>);

impl Asked {
    /// Says whether this is the first time.
    fn add(&self, attempt: AttemptId) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            // To ask twice costs time only.
            asked.clear();
        }
        asked.insert(attempt)
    }
}

impl Engine {
    /// Has an ended attempt compared, soon.
    pub(super) fn verify_later(&self, attempt: AttemptId) {
        if self.asked.add(attempt) && self.unverified.try_send(attempt).is_err() {
            tracing::warn!(attempt_id = %attempt, "too many outputs wait for their comparison; this one stays unverified");
        }
    }

    /// Has those compared that an earlier process did not come to: its queue went with it. Called where somebody looks.
    pub(super) fn verify_forgotten(&self, executions: &[Execution]) {
        for execution in executions
            .iter()
            .filter(|execution| execution.state.is_terminal() && !execution.output_verified)
        {
            let ran = execution
                .outcome
                .as_ref()
                .is_some_and(|outcome| !outcome.streams.is_empty());
            if let Some(attempt) = execution.attempt_id.filter(|_| ran) {
                self.verify_later(attempt);
            }
        }
    }
}

/// Compares ended attempts until the engine stops.
pub(super) async fn run(engine: Engine, mut attempts: mpsc::Receiver<AttemptId>) {
    while let Some(attempt) = attempts.recv().await {
        loop {
            match verify(&engine, attempt).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(attempt_id = %attempt, %error, "a comparison waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

async fn verify(engine: &Engine, attempt: AttemptId) -> store::Result<()> {
    let mut tally = Tally::default();
    let mut next_seq = 0;
    let outcome = loop {
        let chunks = engine
            .store
            .chunk_read(attempt, ChunkStart::Seq(next_seq), READ_BYTES)
            .await?;
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
    if let Some(execution) = engine.store.execution_by_attempt(attempt).await?
        && execution.attempt_id == Some(attempt)
        && !execution.output_verified
    {
        engine.note(Note::verified(execution.agent_id, attempt)).await;
    }
    Ok(())
}
