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
        self, Accepted, AttachRequest, AttachResponse, AttemptReport, Hello, LogChunk, Pong, Refused, TaskRequest,
        Unimplemented, attach_request, attach_response,
    },
    session::{flow::Window, handshake},
};

use super::{Command, NotObeyed, Output, liveness::Link, track::Track};
use crate::launch::{Known, Order, Phase, Refusal};

/// Used when the cloud names no ping interval.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// Used when the cloud grants no credit of its own.
const DEFAULT_CREDIT_BYTES: u64 = 1024 * 1024;

/// The courier: see the module.
#[derive(Debug)]
pub struct Courier {
    link: Link,
    attempts: BTreeMap<AttemptId, Track>,
    control: VecDeque<attach_request::Frame>,
    turns: VecDeque<AttemptId>,
    /// Credit of a new attempt in this session.
    credit: u64,
}

impl Courier {
    /// Starts with what the journal holds.
    pub fn new(known: &[Known]) -> Self {
        let attempts = known.iter().map(|known| (known.id, Track::new(known.phase))).collect();
        Self {
            link: Link::Down,
            attempts,
            control: VecDeque::new(),
            turns: VecDeque::new(),
            credit: 0,
        }
    }

    /// A stream to the cloud is open. `hello` lacks what the courier knows: versions and attempts.
    /// `journal_end` says how many events the journal has of an attempt.
    pub fn connected(&mut self, now: Duration, mut hello: Hello, journal_end: impl Fn(AttemptId) -> u64) {
        hello.min_version = handshake::SUPPORTED.min;
        hello.max_version = handshake::SUPPORTED.max;
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
        self.link = Link::greeting(now);
    }

    /// The stream is gone. What it carried is forgotten, except that tasks which were refused still are.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
        self.turns.clear();
        self.control
            .retain(|frame| matches!(frame, attach_request::Frame::Refused(_)));
        for track in self.attempts.values_mut() {
            track.queued = false;
            track.held = None;
        }
    }

    /// A frame has come.
    pub fn frame(&mut self, now: Duration, response: AttachResponse) -> Vec<Command> {
        self.link.heard(now);
        match response.frame {
            Some(attach_response::Frame::Welcome(welcome)) => self.welcome(now, welcome),
            Some(attach_response::Frame::Task(TaskRequest {
                envelope: Some(envelope),
                ..
            })) => {
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
                    track.window.granted(credit.bytes);
                    self.take_turn(id);
                }
                vec![]
            }
            Some(attach_response::Frame::Ping(ping)) => {
                self.control
                    .push_back(attach_request::Frame::Pong(Pong { nonce: ping.nonce }));
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
                let mut track = Track::new(Phase::Accepted);
                track.window = Window::new(0, self.credit);
                self.attempts.insert(order.id, track);
                vec![Command::Start(Box::new(order))]
            }
            Err(NotObeyed {
                attempt: Some(id),
                refusal,
            }) if !self.attempts.contains_key(&id) => {
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
    pub fn changed(&mut self, id: AttemptId, phase: Phase) -> Vec<Command> {
        let Some(track) = self.attempts.get_mut(&id) else {
            return vec![];
        };
        track.phase = track.phase.max(phase);
        track.more = true;
        if track.doomed && track.phase == Phase::Ended {
            self.attempts.remove(&id);
            return vec![Command::Forget(id)];
        }
        self.take_turn(id);
        vec![]
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
            Link::Up { .. } => self.next_control().or_else(|| self.next_turn()),
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

    /// The answer to [`Output::Read`]: the frame to send, if there is a chunk and its window is open.
    pub fn chunk(&mut self, id: AttemptId, chunk: Option<LogChunk>) -> Option<AttachRequest> {
        let track = self.attempts.get_mut(&id)?;
        let Some(chunk) = chunk else {
            track.more = false;
            return None;
        };
        if !track.window.may_send(chunk.raw_size) {
            track.held = Some(chunk);
            return None;
        }
        track
            .window
            .sent(chunk.first_seq.saturating_add(chunk.event_count.into()), chunk.raw_size);
        // After the end nothing follows.
        track.more = chunk.outcome.is_none();
        self.take_turn(id);
        Some(frame(attach_request::Frame::Chunk(chunk)))
    }

    /// When [`Self::is_dead`] is to be asked.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        self.link.deadline(now)
    }

    /// Says whether the cloud has been silent for too long.
    pub fn is_dead(&mut self, now: Duration) -> bool {
        self.link.is_dead(now)
    }

    /// Says whether the link is past its greeting.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    fn welcome(&mut self, now: Duration, welcome: pb::Welcome) -> Vec<Command> {
        if !(handshake::SUPPORTED.min..=handshake::SUPPORTED.max).contains(&welcome.version) {
            return vec![Command::Incompatible(welcome.version)];
        }
        let interval = match welcome.heartbeat_secs {
            0 => DEFAULT_HEARTBEAT,
            secs => Duration::from_secs(secs.into()),
        };
        self.credit = match welcome.initial_credit_bytes {
            0 => DEFAULT_CREDIT_BYTES,
            bytes => bytes,
        };
        self.link = Link::up(interval, now);
        for track in self.attempts.values_mut() {
            track.rewind(track.window.acked_seq(), self.credit);
        }
        let mut commands = Vec::new();
        for wanted in welcome.attempts {
            let credit = self.credit;
            let Some((id, track)) = self.track(&wanted.attempt_id) else {
                continue;
            };
            // May be lower than an earlier Ack: the cloud's database may have lost commits.
            track.rewind(wanted.next_seq, credit);
            if wanted.cancel && track.phase != Phase::Ended {
                commands.push(Command::Cancel(id));
            }
            if wanted.archived {
                commands.extend(self.archived(id));
            }
        }
        let ids: Vec<AttemptId> = self.attempts.keys().copied().collect();
        ids.into_iter().for_each(|id| self.take_turn(id));
        commands
    }

    /// The cloud has, or wants, nothing more of the attempt. One that is still at work goes when it has ended.
    fn archived(&mut self, id: AttemptId) -> Option<Command> {
        let track = self.attempts.get_mut(&id)?;
        if track.phase == Phase::Ended {
            self.attempts.remove(&id);
            return Some(Command::Forget(id));
        }
        track.doomed = true;
        None
    }

    fn acknowledge(&mut self, ack: &pb::Ack) -> Vec<Command> {
        let Some((id, track)) = self.track(&ack.attempt_id) else {
            return vec![];
        };
        let before = track.window.acked_seq();
        // An ack beyond what was sent says nothing that can be true.
        track.window.acked(ack.next_seq.min(track.window.next_seq()));
        if ack.archived {
            // It has ended, whatever this agent has heard of it: the cloud has its End event.
            track.phase = Phase::Ended;
            return self.archived(id).into_iter().collect();
        }
        let after = track.window.acked_seq();
        self.take_turn(id);
        (after > before)
            .then_some(Command::Acknowledged(id, after))
            .into_iter()
            .collect()
    }

    fn track(&mut self, attempt_id: &str) -> Option<(AttemptId, &mut Track)> {
        let id = attempt_id.parse().ok()?;
        Some((id, self.attempts.get_mut(&id)?))
    }

    /// Queues the attempt if it has something to send and its window is open.
    fn take_turn(&mut self, id: AttemptId) {
        let Some(track) = self.attempts.get_mut(&id) else {
            return;
        };
        if track.may_send() && !track.queued && !track.doomed {
            track.queued = true;
            self.turns.push_back(id);
        }
    }

    /// What the next attempt in turn has: a chunk that was held back, or something to read.
    fn next_turn(&mut self) -> Option<Output> {
        while let Some(id) = self.turns.pop_front() {
            let Some(track) = self.attempts.get_mut(&id) else {
                continue;
            };
            track.queued = false;
            let Some(held) = track.held.take() else {
                return Some(Output::Read(id, track.window.next_seq()));
            };
            if let Some(frame) = self.chunk(id, Some(held)) {
                return Some(Output::Frame(frame));
            }
        }
        None
    }

    fn next_control(&mut self) -> Option<Output> {
        self.control.pop_front().map(|control| Output::Frame(frame(control)))
    }

    fn accepted(&mut self, id: AttemptId, phase: Phase) {
        let accepted = Accepted {
            attempt_id: id.to_string(),
            phase: phase.to_pb().into(),
        };
        if self.is_up() {
            self.control.push_back(attach_request::Frame::Accepted(accepted));
        }
        // Otherwise the next Hello says it.
    }

    fn refused(&mut self, id: AttemptId, refusal: Refusal) {
        let Refusal { reason, message } = refusal;
        let refused = Refused {
            attempt_id: id.to_string(),
            reason: reason.to_owned(),
            message,
        };
        self.control.push_back(attach_request::Frame::Refused(refused));
    }

    fn not_understood(&mut self, name: &str) -> Vec<Command> {
        self.control
            .push_back(attach_request::Frame::Unimplemented(Unimplemented {
                frame: name.to_owned(),
            }));
        vec![]
    }
}

fn frame(frame: attach_request::Frame) -> AttachRequest {
    AttachRequest { frame: Some(frame) }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
