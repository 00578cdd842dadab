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

/// Times that an agent may say something new about itself at once.
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
/// Bytes of names and kinds of connections, in all.
const CONNECTIONS_BYTES_MAX: usize = 24 << 10;
/// Longest word of a refusal, and longest message of it and of an outcome.
const REASON_MAX: usize = 64;
const MESSAGE_MAX: usize = 4 << 10;
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

/// The budget of one link.
#[derive(Debug)]
pub(super) struct Budget {
    frames: Bucket,
    facts: Bucket,
    unknown: u64,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: Bucket::new(FRAMES_BURST, FRAME_EVERY, now),
            facts: Bucket::new(FACTS_BURST, FACTS_EVERY, now),
            unknown: 0,
        }
    }

    /// Takes a frame that is no chunk; returns until when it has to wait.
    pub(super) fn frame(&mut self, now: Instant) -> Option<Instant> {
        self.frames.take(now)
    }

    /// Says whether facts may be told to everybody now; others are dropped, and the next ones tell the same.
    pub(super) fn facts(&mut self, now: Instant) -> bool {
        self.facts.try_take(now)
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

/// Checks and cuts what an agent says when it comes.
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
    cut(&mut refused.message, MESSAGE_MAX);
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
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_flood_of_frames_waits_and_what_an_honest_agent_says_does_not() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..FRAMES_BURST {
            assert_eq!(budget.frame(now), None);
        }
        let until = budget.frame(now).expect("a wait");
        assert_eq!(until - now, FRAME_EVERY);
        // 100,000 in 7 s were lines of the log once; now they take 23 s, and an honest second passes at once after it.
        for _ in 0..100_000 {
            budget.frame(now);
        }
        let until = budget.frame(now).expect("a wait");
        assert!(until - now > Duration::from_secs(20));
        assert_eq!(budget.frame(until + Duration::from_secs(3)), None);
    }

    #[test]
    fn facts_are_told_some_times_and_unknown_frames_make_few_lines() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let told = (0..1_000).filter(|_| budget.facts(now)).count();
        assert_eq!(told, FACTS_BURST as usize);
        assert!(budget.facts(now + FACTS_EVERY), "and again after a while");
        let said: Vec<_> = (0..100_000).map(|_| budget.unknown()).collect();
        assert_eq!(
            said.iter().filter(|(answer, _)| *answer).count() as u64,
            UNKNOWN_ANSWERED
        );
        assert_eq!(said.iter().filter(|(_, line)| *line).count(), 17);
    }

    #[test]
    fn a_resend_is_free_and_saying_the_same_without_end_is_not() {
        let now = Instant::now();
        let mut vain = Vain::new(now);
        assert!(vain.is_full(now));
        assert!((0..VAIN_BURST).all(|_| vain.take(now)));
        assert!((0..100_000).all(|_| !vain.take(now)));
        // What was above it is not owed.
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| vain.take(later)).count(), 50);
        assert!(!vain.is_full(later));
        let rested = later + VAIN_EVERY * VAIN_BURST;
        assert!(vain.is_full(rested));
        assert!((0..VAIN_BURST).all(|_| vain.take(rested)));
    }

    fn digest(stream: pb::Stream, hash_len: usize) -> pb::StreamDigest {
        pb::StreamDigest {
            stream: stream.into(),
            bytes: 1,
            blake3: vec![7; hash_len].into(),
        }
    }

    #[test]
    fn an_outcome_has_one_digest_a_stream() {
        let (out, err) = (pb::Stream::Stdout, pb::Stream::Stderr);
        let check = |streams: &[pb::StreamDigest], events: Option<usize>| {
            let outcome = pb::Outcome {
                streams: streams.to_vec(),
                events: events.map(|hash_len| pb::EventsDigest {
                    version: 1,
                    count: 1,
                    blake3: vec![7; hash_len].into(),
                }),
                ..Default::default()
            };
            let mut chunk = pb::LogChunk {
                outcome: Some(outcome),
                ..Default::default()
            };
            bound_chunk(&mut chunk).map_err(|problem| problem.reason)
        };
        let invalid = Err(Reason::ChunkInvalid);
        assert_eq!(check(&[], None), Ok(()));
        assert_eq!(check(&[digest(out, 32), digest(err, 32)], Some(32)), Ok(()));
        assert_eq!(check(&vec![pb::StreamDigest::default(); 1_000], None), invalid);
        assert_eq!(check(&[digest(out, 32), digest(out, 32)], None), invalid, "one twice");
        assert_eq!(check(&[digest(err, 31)], None), invalid);
        assert_eq!(check(&[digest(err, 3 << 20)], None), invalid);
        assert_eq!(check(&[], Some(33)), invalid);
    }

    #[test]
    fn a_chunk_that_waits_keeps_nothing_of_its_frame() {
        let frame = Bytes::from(vec![7; 3 << 20]);
        let is_of_frame = |bytes: &Bytes| frame.as_ptr_range().contains(&bytes.as_ptr());
        let outcome = pb::Outcome {
            reason: "R".repeat(1 << 20),
            message: "m".repeat(1 << 20),
            streams: vec![pb::StreamDigest {
                blake3: frame.slice(..32),
                ..digest(pb::Stream::Stdout, 0)
            }],
            ..Default::default()
        };
        let mut chunk = pb::LogChunk {
            payload: frame.slice(100..110),
            outcome: Some(outcome),
            ..Default::default()
        };
        assert!(is_of_frame(&chunk.payload));
        bound_chunk(&mut chunk).unwrap();
        assert_eq!(chunk.payload, vec![7; 10]);
        let outcome = chunk.outcome.unwrap();
        assert!(!is_of_frame(&chunk.payload) && !is_of_frame(&outcome.streams[0].blake3));
        assert_eq!((outcome.reason.len(), outcome.message.len()), (REASON_MAX, MESSAGE_MAX));
        assert!(outcome.reason.capacity() + outcome.message.capacity() < 16 << 10);
    }

    #[test]
    fn what_an_agent_says_about_itself_stays_readable_for_everybody() {
        let huge = "é".repeat(200_000);
        let mut hello = pb::Hello {
            facts: Some(pb::Facts {
                hostname: huge.clone(),
                os: huge.clone(),
                arch: huge.clone(),
                kernel: huge.clone(),
                agent_version: huge.clone(),
                capabilities: vec![huge.clone(); 1_000],
                ..Default::default()
            }),
            connections: (0..10_000)
                .map(|n| pb::Connection {
                    name: format!("c{n}"),
                    kind: huge.clone(),
                    is_default: false,
                })
                .collect(),
            process_nonce: huge,
            ..Default::default()
        };
        bound_hello(&mut hello).unwrap();
        assert!(hello.encoded_len() < 64 << 10, "{}", hello.encoded_len());
        assert!(hello.connections.len() > 200);
        hello.attempts = vec![pb::AttemptReport::default(); ATTEMPTS_MAX + 1];
        let refused = bound_hello(&mut hello).unwrap_err();
        assert_eq!(refused.reason, Reason::AgentReportTooLarge);
    }
}
