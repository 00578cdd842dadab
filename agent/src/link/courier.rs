//! The courier's mind: what is sent next, and what is done about what comes. No IO, no clock, no tasks.
//!
//! ```text
//!            connected                    Welcome
//!   Down ───────────────► Greeting ──────────────────► Up
//!     ▲   (Hello leaves)              (resend from what the cloud wants)
//!     └───────────────────────┴─────────────────────────┘ disconnected
//! ```
//! Per attempt it keeps two numbers: the next event to send, and what the cloud has acknowledged. Chunks stay in the
//! journal until the cloud says `archived`, so any of them may be sent again, in any session.
//!
//! Control frames go before chunks; attempts with chunks take turns; each has a window of raw bytes under way.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use opslink::{
    id::AttemptId,
    pb::{
        self, Accepted, AttachRequest, AttachResponse, AttemptReport, Hello, LogChunk, Pong, Refused, SignedEnvelope,
        TaskRequest, Unimplemented, attach_request, attach_response,
    },
};

use super::{MAX_VERSION, MIN_VERSION, NotObeyed};
use crate::launch::{Known, Order, Phase, Refusal};

/// Longest wait for Welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(15);

/// Used when the cloud names no ping interval.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// Used when the cloud grants no credit of its own.
const DEFAULT_CREDIT_BYTES: u64 = 1024 * 1024;

/// The link is dead after this many ping intervals without a frame.
const MISSED_HEARTBEATS: u32 = 3;

/// What the courier wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Check this task, then call [`Courier::admitted`].
    Admit(SignedEnvelope),
    /// Start this attempt, then call [`Courier::started`].
    Start(Box<Order>),
    /// Ask for the end of this attempt.
    Cancel(AttemptId),
    /// The cloud has everything below this event.
    Acknowledged(AttemptId, u64),
    /// The cloud has the attempt for good.
    Forget(AttemptId),
    /// Close the link and come back after this time.
    Redial(Duration),
    /// Close the link: this agent and the cloud have no protocol version in common.
    Incompatible(u32),
}

/// What is to leave next.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// This frame.
    Frame(AttachRequest),
    /// Read this attempt's journal at this event, then call [`Courier::chunk`].
    Read(AttemptId, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// Hello is on its way; times are those of the caller's clock.
    Greeting {
        since: Duration,
    },
    Up {
        last_heard: Duration,
        dead_after: Duration,
        credit: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Track {
    phase: Phase,
    /// Next event to send in this session.
    next_seq: u64,
    /// The cloud has everything below.
    acknowledged: u64,
    /// Sent and not acknowledged: the event after each chunk, and its raw size.
    under_way: VecDeque<(u64, u64)>,
    under_way_bytes: u64,
    /// Granted beside the session's own credit.
    extra_credit: u64,
    /// The journal may hold events from `next_seq` on.
    more: bool,
    /// It is in the queue of attempts that take turns.
    queued: bool,
}

impl Track {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            next_seq: 0,
            acknowledged: 0,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            extra_credit: 0,
            more: phase != Phase::Accepted,
            queued: false,
        }
    }

    fn rewind(&mut self, next_seq: u64) {
        self.next_seq = next_seq;
        self.acknowledged = next_seq;
        self.under_way.clear();
        self.under_way_bytes = 0;
        self.more = true;
    }
}

/// The courier: see the module.
#[derive(Debug)]
pub struct Courier {
    link: Link,
    attempts: BTreeMap<AttemptId, Track>,
    control: VecDeque<attach_request::Frame>,
    turns: VecDeque<AttemptId>,
}

impl Courier {
    /// Starts with what the journal holds.
    pub fn new(known: &[Known]) -> Self {
        let attempts = known.iter().map(|known| (known.id, Track::new(known.phase))).collect();
        Self { link: Link::Down, attempts, control: VecDeque::new(), turns: VecDeque::new() }
    }

    /// A stream to the cloud is open. `hello` lacks what the courier knows: versions and attempts.
    /// `journal_end` says how many events the journal has of an attempt.
    pub fn connected(&mut self, now: Duration, mut hello: Hello, journal_end: impl Fn(AttemptId) -> u64) {
        hello.min_version = MIN_VERSION;
        hello.max_version = MAX_VERSION;
        hello.attempts = self
            .attempts
            .iter()
            .map(|(id, track)| AttemptReport {
                attempt_id: id.to_string(),
                phase: track.phase.to_pb().into(),
                next_seq: journal_end(*id),
            })
            .collect();
        self.disconnected();
        self.control.push_front(attach_request::Frame::Hello(hello));
        self.link = Link::Greeting { since: now };
    }

    /// The stream is gone. What it carried is forgotten, except that tasks which were refused still are.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
        self.turns.clear();
        self.control.retain(|frame| matches!(frame, attach_request::Frame::Refused(_)));
        for track in self.attempts.values_mut() {
            let acknowledged = track.acknowledged;
            track.rewind(acknowledged);
            track.queued = false;
            track.extra_credit = 0;
        }
    }

    /// A frame has come.
    pub fn frame(&mut self, now: Duration, response: AttachResponse) -> Vec<Command> {
        if let Link::Up { last_heard, .. } = &mut self.link {
            *last_heard = now;
        }
        match response.frame {
            Some(attach_response::Frame::Welcome(welcome)) => self.welcome(now, welcome),
            Some(attach_response::Frame::Task(TaskRequest { envelope: Some(envelope), .. })) => {
                vec![Command::Admit(envelope)]
            }
            Some(attach_response::Frame::Task(TaskRequest { envelope: None, .. })) => self.not_understood("task"),
            Some(attach_response::Frame::Cancel(cancel)) => match cancel.attempt_id.parse() {
                Ok(id) if self.attempts.contains_key(&id) => vec![Command::Cancel(id)],
                // It is not here: the cloud learns that from the next Hello, or knows it already.
                _ => vec![],
            },
            Some(attach_response::Frame::Ack(ack)) => self.acknowledge(&ack),
            Some(attach_response::Frame::Credit(credit)) => {
                if let Some((id, track)) = self.track(&credit.attempt_id) {
                    track.extra_credit = track.extra_credit.saturating_add(credit.bytes);
                    self.take_turn(id);
                }
                vec![]
            }
            Some(attach_response::Frame::Ping(ping)) => {
                self.control.push_back(attach_request::Frame::Pong(Pong { nonce: ping.nonce }));
                vec![]
            }
            Some(attach_response::Frame::Drain(drain)) => {
                vec![Command::Redial(Duration::from_millis(drain.retry_after_ms.into()))]
            }
            // The cloud did not know a frame of ours: it goes on without.
            Some(attach_response::Frame::Unimplemented(_)) => vec![],
            None => self.not_understood("unknown"),
        }
    }

    /// The answer to [`Command::Admit`].
    pub fn admitted(&mut self, decision: Result<Order, NotObeyed>) -> Vec<Command> {
        match decision {
            Ok(order) => {
                if let Some(track) = self.attempts.get(&order.id) {
                    // Delivered before: the answer is what became of it, never a second start.
                    let phase = track.phase;
                    self.accepted(order.id, phase);
                    return vec![];
                }
                self.attempts.insert(order.id, Track::new(Phase::Accepted));
                vec![Command::Start(Box::new(order))]
            }
            Err(NotObeyed { attempt: Some(id), refusal }) if !self.attempts.contains_key(&id) => {
                self.refused(id, refusal);
                vec![]
            }
            // A damaged copy of a task that is here already must not say that it was refused.
            Err(NotObeyed { attempt: Some(_), .. }) => vec![],
            Err(NotObeyed { attempt: None, .. }) => self.not_understood("task"),
        }
    }

    /// The answer to [`Command::Start`].
    pub fn started(&mut self, id: AttemptId, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                if let Some(track) = self.attempts.get_mut(&id) {
                    track.phase = track.phase.max(Phase::Running);
                    let phase = track.phase;
                    self.accepted(id, phase);
                }
            }
            Err(refusal) => {
                self.attempts.remove(&id);
                self.refused(id, refusal);
            }
        }
    }

    /// The attempt's journal has something new.
    pub fn changed(&mut self, id: AttemptId, phase: Phase) {
        if let Some(track) = self.attempts.get_mut(&id) {
            track.phase = track.phase.max(phase);
            track.more = true;
            self.take_turn(id);
        }
    }

    /// Says what is to leave next; `None` when there is nothing now.
    pub fn next_output(&mut self) -> Option<Output> {
        match self.link {
            Link::Down => None,
            // Before Welcome only Hello may leave.
            Link::Greeting { .. } => match self.control.front() {
                Some(attach_request::Frame::Hello(_)) => self.next_control(),
                _ => None,
            },
            Link::Up { .. } => self.next_control().or_else(|| {
                let id = self.turns.pop_front()?;
                let track = self.attempts.get_mut(&id)?;
                track.queued = false;
                Some(Output::Read(id, track.next_seq))
            }),
        }
    }

    /// Says whether [`Self::next_output`] has something.
    pub fn has_output(&self) -> bool {
        match self.link {
            Link::Down => false,
            Link::Greeting { .. } => matches!(self.control.front(), Some(attach_request::Frame::Hello(_))),
            Link::Up { .. } => !self.control.is_empty() || !self.turns.is_empty(),
        }
    }

    /// The answer to [`Output::Read`]: the frame to send, if there was a chunk.
    pub fn chunk(&mut self, id: AttemptId, chunk: Option<LogChunk>) -> Option<AttachRequest> {
        let track = self.attempts.get_mut(&id)?;
        let Some(chunk) = chunk else {
            track.more = false;
            return None;
        };
        track.next_seq = chunk.first_seq.saturating_add(chunk.event_count.into());
        track.under_way.push_back((track.next_seq, chunk.raw_size));
        track.under_way_bytes = track.under_way_bytes.saturating_add(chunk.raw_size);
        // After the end nothing follows.
        track.more = chunk.outcome.is_none();
        self.take_turn(id);
        Some(frame(attach_request::Frame::Chunk(chunk)))
    }

    /// When [`Self::is_dead`] is to be asked.
    pub fn deadline(&self) -> Option<Duration> {
        match self.link {
            Link::Down => None,
            Link::Greeting { since } => Some(since + WELCOME_WITHIN),
            Link::Up { last_heard, dead_after, .. } => Some(last_heard + dead_after),
        }
    }

    /// Says whether the cloud has been silent for too long.
    pub fn is_dead(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }

    /// Says whether the link is past its greeting.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    fn welcome(&mut self, now: Duration, welcome: pb::Welcome) -> Vec<Command> {
        if !(MIN_VERSION..=MAX_VERSION).contains(&welcome.version) {
            return vec![Command::Incompatible(welcome.version)];
        }
        let heartbeat = match welcome.heartbeat_secs {
            0 => DEFAULT_HEARTBEAT,
            secs => Duration::from_secs(secs.into()),
        };
        let credit = match welcome.initial_credit_bytes {
            0 => DEFAULT_CREDIT_BYTES,
            bytes => bytes,
        };
        self.link = Link::Up { last_heard: now, dead_after: heartbeat * MISSED_HEARTBEATS, credit };
        let mut commands = Vec::new();
        for wanted in welcome.attempts {
            let Some((id, track)) = self.track(&wanted.attempt_id) else { continue };
            if wanted.archived {
                self.attempts.remove(&id);
                commands.push(Command::Forget(id));
                continue;
            }
            // May be lower than an earlier Ack: the cloud's database may have lost commits.
            track.rewind(wanted.next_seq);
            if wanted.cancel {
                commands.push(Command::Cancel(id));
            }
        }
        let ids: Vec<AttemptId> = self.attempts.keys().copied().collect();
        ids.into_iter().for_each(|id| self.take_turn(id));
        commands
    }

    fn acknowledge(&mut self, ack: &pb::Ack) -> Vec<Command> {
        let Some((id, track)) = self.track(&ack.attempt_id) else { return vec![] };
        if ack.archived {
            self.attempts.remove(&id);
            return vec![Command::Forget(id)];
        }
        while let Some((end, bytes)) = track.under_way.front().copied()
            && end <= ack.next_seq
        {
            track.under_way.pop_front();
            track.under_way_bytes = track.under_way_bytes.saturating_sub(bytes);
        }
        let before = track.acknowledged;
        // An ack beyond what was sent says nothing that can be true.
        track.acknowledged = before.max(ack.next_seq.min(track.next_seq));
        let grown = (track.acknowledged > before).then_some(Command::Acknowledged(id, track.acknowledged));
        self.take_turn(id);
        grown.into_iter().collect()
    }

    fn track(&mut self, attempt_id: &str) -> Option<(AttemptId, &mut Track)> {
        let id = attempt_id.parse().ok()?;
        Some((id, self.attempts.get_mut(&id)?))
    }

    /// Queues the attempt if it has something to send and its window is open.
    fn take_turn(&mut self, id: AttemptId) {
        let Link::Up { credit, .. } = self.link else { return };
        let Some(track) = self.attempts.get_mut(&id) else { return };
        let open = track.under_way_bytes < credit.saturating_add(track.extra_credit);
        if track.more && open && !track.queued {
            track.queued = true;
            self.turns.push_back(id);
        }
    }

    fn next_control(&mut self) -> Option<Output> {
        self.control.pop_front().map(|control| Output::Frame(frame(control)))
    }

    fn accepted(&mut self, id: AttemptId, phase: Phase) {
        let accepted = Accepted { attempt_id: id.to_string(), phase: phase.to_pb().into() };
        if self.is_up() {
            self.control.push_back(attach_request::Frame::Accepted(accepted));
        }
        // Otherwise the next Hello says it.
    }

    fn refused(&mut self, id: AttemptId, refusal: Refusal) {
        let Refusal { reason, message } = refusal;
        let refused = Refused { attempt_id: id.to_string(), reason: reason.to_owned(), message };
        self.control.push_back(attach_request::Frame::Refused(refused));
    }

    fn not_understood(&mut self, name: &str) -> Vec<Command> {
        self.control.push_back(attach_request::Frame::Unimplemented(Unimplemented { frame: name.to_owned() }));
        vec![]
    }
}

fn frame(frame: attach_request::Frame) -> AttachRequest {
    AttachRequest { frame: Some(frame) }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
