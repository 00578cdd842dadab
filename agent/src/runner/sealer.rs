//! Turns events into chunks: counts, hashes, encodes, and decides when a chunk is closed. Knows no clock: every call
//! gets the time since the attempt's start.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use opslink::{
    chunk::{Encoder, LEVEL, OUTPUT_MAX, SEAL_AFTER},
    event::{Event, EventBody, Note, Stream},
    id::AttemptId,
    pb,
    task::{Outcome, StreamDigest},
    time::UnixMicros,
};

use super::{Spool, conclude::Verdict};

/// After a silence, output leaves this soon. Not at once: a command that prints a line and ends is then one chunk, not
/// two, and nobody sees 2 ms.
pub(super) const SEAL_AFTER_SILENCE: Duration = Duration::from_millis(2);

/// Length and hash of both streams, as produced.
struct Digests {
    stdout: (u64, blake3::Hasher),
    stderr: (u64, blake3::Hasher),
}

impl Digests {
    fn new() -> Self {
        Self {
            stdout: (0, blake3::Hasher::new()),
            stderr: (0, blake3::Hasher::new()),
        }
    }

    fn add(&mut self, stream: Stream, data: &[u8]) {
        let (bytes, hasher) = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        *bytes += data.len() as u64;
        hasher.update(data);
    }

    /// Both streams, always in the same order, also when empty: an attempt without output is checked as well.
    fn finish(&self) -> Vec<StreamDigest> {
        [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)]
            .into_iter()
            .map(|(stream, (bytes, hasher))| StreamDigest {
                stream,
                bytes: *bytes,
                blake3: Bytes::copy_from_slice(hasher.finalize().as_bytes()),
            })
            .collect()
    }
}

/// See the module.
pub(super) struct Sealer {
    encoder: Encoder,
    digests: Digests,
    spool: Arc<dyn Spool>,
    started_time_us: i64,
    first_event: Option<Duration>,
    last_seal: Option<Duration>,
    broken: bool,
}

impl Sealer {
    pub(super) fn new(attempt: AttemptId, spool: Arc<dyn Spool>) -> Self {
        Self {
            encoder: Encoder::new(attempt, LEVEL),
            digests: Digests::new(),
            spool,
            started_time_us: UnixMicros::now().0,
            first_event: None,
            last_seal: None,
            broken: false,
        }
    }

    /// Whether the spool refused a chunk for good; the work should be ended.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes an event; closes chunks that are full.
    pub(super) fn push(&mut self, event: Event, now: Duration) {
        let Event { time_us, body } = event;
        match body {
            EventBody::Output { stream, mut data } => {
                self.digests.add(stream, &data);
                // An executor may hand over any amount at once; a chunk stays within its limit.
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(OUTPUT_MAX));
                    self.encode(
                        Event {
                            time_us,
                            body: EventBody::Output { stream, data: piece },
                        },
                        now,
                    );
                }
            }
            body @ (EventBody::TableHeader(_)
            | EventBody::TableRows(_)
            | EventBody::RowPiece(_)
            | EventBody::StatementStart(_)
            | EventBody::StatementEnd(_)
            | EventBody::Note(_)
            | EventBody::Gap { .. }
            | EventBody::End(_)) => self.encode(Event { time_us, body }, now),
        }
    }

    fn encode(&mut self, event: Event, now: Duration) {
        self.encoder.push(event);
        self.first_event.get_or_insert(now);
        if self.encoder.is_full() {
            self.seal(now);
        }
    }

    /// When the chunk being filled has to be closed; `None` when it is empty.
    pub(super) fn due(&self) -> Option<Duration> {
        let first = self.first_event?;
        let after_silence = self.last_seal.is_none_or(|last| first >= last + SEAL_AFTER);
        Some(first + if after_silence { SEAL_AFTER_SILENCE } else { SEAL_AFTER })
    }

    /// Closes the chunk being filled, if there is anything in it.
    pub(super) fn seal(&mut self, now: Duration) {
        self.first_event = None;
        self.last_seal = Some(now);
        let Some(chunk) = self.encoder.seal() else { return };
        self.append(chunk);
        while let Some(note) = self.spool.take_note() {
            self.push_note(note, now);
        }
    }

    fn push_note(&mut self, note: Note, now: Duration) {
        self.encoder.push(Event {
            time_us: UnixMicros::now().0,
            body: EventBody::Note(note),
        });
        self.first_event.get_or_insert(now);
    }

    fn append(&mut self, chunk: pb::LogChunk) {
        // After a lost chunk the numbers would have a hole: nothing more is written.
        if !self.broken && self.spool.append(chunk).is_err() {
            self.broken = true;
        }
    }

    /// Writes the End event into the last chunk and closes it.
    pub(super) fn finish(mut self, verdict: Verdict) -> Outcome {
        let now = UnixMicros::now();
        let outcome = Outcome {
            state: verdict.state,
            exit_code: verdict.exit_code,
            signal: verdict.signal,
            reason: verdict.reason,
            message: verdict.message,
            streams: self.digests.finish(),
            started_time_us: self.started_time_us,
            finished_time_us: now.0.max(self.started_time_us),
            events: Some(self.encoder.events_digest()),
        };
        self.encoder.push(Event {
            time_us: now.0,
            body: EventBody::End(outcome.clone()),
        });
        if let Some(chunk) = self.encoder.seal() {
            self.append(chunk);
        }
        outcome
    }
}
