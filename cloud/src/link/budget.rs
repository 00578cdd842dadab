//! What one agent may say, so that what a bad one does costs only itself.
//!
//! Frames above the budget wait, which the agent feels as HTTP/2 back pressure; nothing of what it says in order is
//! lost. What it says about itself is cut to what lists can show. The clock is handed in.

use std::time::Duration;

use bytes::Bytes;
use opslink::{pb, problem::Problem, reason::Reason};
use tokio::time::Instant;

/// Attempts in one Hello. An agent that was away with more unreported ones has been away for very long: 128 slots.
pub(super) const ATTEMPTS_MAX: usize = 16_384;

/// Frames beside chunks that may come at once; a small task makes one.
const FRAMES_BURST: u32 = 8_192;
/// …and then one each.
const FRAME_EVERY: Duration = Duration::from_micros(250);

/// Times that an agent may say something new about itself at once, by whatever links.
const FACTS_BURST: u32 = 6;
/// …and then once each.
const FACTS_EVERY: Duration = Duration::from_secs(10);

/// Chunks that bring nothing, at once: what may be under way when the answers to it are lost, as in a failover.
const VAIN_BURST: u32 = 16_384;
/// …and then one each.
const VAIN_EVERY: Duration = Duration::from_millis(20);

/// Frames of an unknown kind that are answered; the rest is ignored.
const UNKNOWN_ANSWERED: u64 = 16;

/// Longest text about a machine; the longest host name has 253.
const TEXT_MAX: usize = 256;
/// Most executor kinds.
const CAPABILITIES_MAX: usize = 64;
/// Most connections. Each takes some 120 bytes of memory beside its texts: 30 KiB of an agent in the directory.
const CONNECTIONS_MAX: usize = 256;
/// Bytes of their names and kinds, in all: so much more of memory.
const CONNECTIONS_BYTES_MAX: usize = 24 << 10;
/// Longest word of a refusal, and of an outcome.
const REASON_MAX: usize = 64;
/// Longest message of an outcome, which takes room among its agent's chunks.
const MESSAGE_MAX: usize = 4 << 10;
/// Longest message of a refusal, which takes none: of these, 18,432 may wait.
const REFUSED_MESSAGE_MAX: usize = 1 << 10;
/// Digests of an outcome: one per stream.
const STREAMS_MAX: usize = 2;
/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// A token bucket as one time: when it is full again (GCRA).
#[derive(Debug)]
struct Bucket {
    full_at: Instant,
    every: Duration,
    burst: u32,
}

impl Bucket {
    fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self {
            full_at: now,
            every,
            burst,
        }
    }

    /// Takes one; says from when on it is within the budget.
    fn take(&mut self, now: Instant) -> Option<Instant> {
        self.full_at = self.full_at.max(now) + self.every;
        let allowed = self.every * self.burst;
        let at = self.full_at.checked_sub(allowed)?;
        (at > now).then_some(at)
    }

    /// Takes one if that is within the budget now; says whether it was.
    fn try_take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at;
        let within = self.take(now).is_none();
        if !within {
            self.full_at = full_at;
        }
        within
    }
}

/// The chunks of one agent that bring nothing, since they are stored already.
#[derive(Debug)]
pub(super) struct Vain(Bucket);

impl Vain {
    pub(super) fn new(now: Instant) -> Self {
        Self(Bucket::new(VAIN_BURST, VAIN_EVERY, now))
    }

    /// Notes one; false when it is above the budget.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.0.try_take(now)
    }

    /// Says whether it is as good as a new one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.0.full_at <= now
    }
}

/// What one agent says that is new about itself.
#[derive(Debug)]
pub(super) struct Facts(Bucket);

impl Facts {
    pub(super) fn new(now: Instant) -> Self {
        Self(Bucket::new(FACTS_BURST, FACTS_EVERY, now))
    }

    /// Says whether facts may be told to everybody now; others are dropped, and the next ones tell the same.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.0.try_take(now)
    }

    /// Says whether it is as good as a new one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.0.full_at <= now
    }
}

/// The budget of one link.
#[derive(Debug)]
pub(super) struct Budget {
    frames: Bucket,
    unknown: u64,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: Bucket::new(FRAMES_BURST, FRAME_EVERY, now),
            unknown: 0,
        }
    }

    /// Takes a frame that is no chunk; returns until when it has to wait.
    pub(super) fn frame(&mut self, now: Instant) -> Option<Instant> {
        self.frames.take(now)
    }

    /// Notes a frame of an unknown kind; says whether to answer, and whether to write a line of the log.
    pub(super) fn unknown(&mut self) -> (bool, bool) {
        self.unknown += 1;
        // 1, 2, 4, 8, …: however many come, some tens of lines.
        (self.unknown <= UNKNOWN_ANSWERED, self.unknown.is_power_of_two())
    }

    pub(super) fn unknown_count(&self) -> u64 {
        self.unknown
    }
}

/// Checks and cuts what an agent says when it comes. What is kept of it for as long as the agent is one of the living takes
/// 64 KiB of memory at most, however it was made: 8 KiB of facts, and its connections.
///
/// # Errors
/// `AGENT_REPORT_TOO_LARGE` when it cannot be cut without harm: an attempt that is left out would be given up.
pub(super) fn bound_hello(hello: &mut pb::Hello) -> Result<(), Problem> {
    if hello.attempts.len() > ATTEMPTS_MAX {
        let detail = format!("{} attempts, {ATTEMPTS_MAX} at most", hello.attempts.len());
        return Err(Problem::new(Reason::AgentReportTooLarge).with("detail", detail));
    }
    if let Some(facts) = &mut hello.facts {
        bound_facts(facts);
    }
    let mut left = CONNECTIONS_BYTES_MAX;
    hello.connections.truncate(CONNECTIONS_MAX);
    hello.connections.shrink_to_fit();
    hello.connections.retain_mut(|connection| {
        cut(&mut connection.name, TEXT_MAX);
        cut(&mut connection.kind, REASON_MAX);
        let bytes = connection.name.len() + connection.kind.len() + 8;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    });
    cut(&mut hello.process_nonce, TEXT_MAX);
    Ok(())
}

/// Cuts facts to what lists of agents can show; never above 8 KiB.
pub(super) fn bound_facts(facts: &mut pb::Facts) {
    for text in [
        &mut facts.hostname,
        &mut facts.os,
        &mut facts.arch,
        &mut facts.kernel,
        &mut facts.agent_version,
    ] {
        cut(text, TEXT_MAX);
    }
    facts.capabilities.truncate(CAPABILITIES_MAX);
    for capability in &mut facts.capabilities {
        cut(capability, REASON_MAX);
    }
}

pub(super) fn bound_refused(refused: &mut pb::Refused) {
    cut(&mut refused.reason, REASON_MAX);
    cut(&mut refused.message, REFUSED_MESSAGE_MAX);
}

/// Checks and cuts what stands beside the output of a chunk: afterwards it takes no more memory than its encoded length
/// and some hundred bytes, however large and however made its frame was.
///
/// # Errors
/// `CHUNK_INVALID`: more digests than there are streams, two of one stream, or a hash of another length.
pub(super) fn bound_chunk(chunk: &mut pb::LogChunk) -> Result<(), Problem> {
    if let Some(outcome) = &mut chunk.outcome {
        bound_outcome(outcome).map_err(|detail| {
            Problem::new(Reason::ChunkInvalid)
                .with("attempt", &chunk.attempt_id)
                .with("detail", detail)
        })?;
    }
    chunk.payload = own(&chunk.payload);
    Ok(())
}

fn bound_outcome(outcome: &mut pb::Outcome) -> Result<(), String> {
    if outcome.streams.len() > STREAMS_MAX {
        return Err(format!("{} digests, {STREAMS_MAX} at most", outcome.streams.len()));
    }
    let mut seen = Vec::with_capacity(STREAMS_MAX);
    for digest in &outcome.streams {
        if seen.contains(&digest.stream) {
            return Err(format!("stream {} has two digests", digest.stream));
        }
        seen.push(digest.stream);
    }
    let of_streams = outcome.streams.iter_mut().map(|digest| &mut digest.blake3);
    let of_events = outcome.events.iter_mut().map(|digest| &mut digest.blake3);
    for hash in of_streams.chain(of_events) {
        if hash.len() != HASH_LEN {
            return Err(format!("a hash has {} bytes instead of {HASH_LEN}", hash.len()));
        }
        *hash = own(hash);
    }
    cut(&mut outcome.reason, REASON_MAX);
    cut(&mut outcome.message, MESSAGE_MAX);
    Ok(())
}

/// A copy: what comes with a frame is a slice that keeps all of it.
fn own(slice: &Bytes) -> Bytes {
    Bytes::copy_from_slice(slice)
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        // The rest would stay in memory for as long as the text does.
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests;
