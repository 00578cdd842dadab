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
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use opslink::{
    id::AttemptId,
    pb::{
        self, AttachRequest, AttachResponse, AttemptReport, Hello, Pong, TaskRequest, attach_request, attach_response,
    },
    session::{flow::Window, handshake},
};

use super::{
    admission::NotObeyed,
    command::{Command, Output},
    control,
    liveness::Link,
    time_to_start::{Arrival, CloudClock},
    track::Track,
};
use crate::launch::{Known, Order, Phase, Refusal};

mod turns;

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
    /// Attempts that were refused before this link came up.
    refused_before: BTreeSet<AttemptId>,
    turns: VecDeque<AttemptId>,
    /// Attempts whose journals could not be read, and when they are tried again.
    resting: BTreeSet<(Duration, AttemptId)>,
    /// Credit of a new attempt in this session.
    credit: u64,
    /// Tells how long a task of this session was on its way.
    cloud_clock: CloudClock,
}

impl Courier {
    /// Starts with what the journal holds.
    pub fn new(known: &[Known]) -> Self {
        let attempts = known.iter().map(|known| (known.id, Track::new(known.phase))).collect();
        Self {
            link: Link::Down,
            attempts,
            control: VecDeque::new(),
            refused_before: BTreeSet::new(),
            turns: VecDeque::new(),
            resting: BTreeSet::new(),
            credit: 0,
            cloud_clock: CloudClock::default(),
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
        self.refused_before = self.control.iter().filter_map(control::refused_attempt).collect();
        self.control.push_front(attach_request::Frame::Hello(hello));
        self.link = Link::greeting(now);
    }

    /// The stream is gone. What it carried is forgotten, except that tasks which were refused still are.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
        self.turns.clear();
        self.resting.clear();
        self.control
            .retain(|frame| matches!(frame, attach_request::Frame::Refused(_)));
        for track in self.attempts.values_mut() {
            track.queued = false;
            track.held = None;
            track.rests = false;
        }
    }

    /// A frame has come.
    pub fn frame(&mut self, now: Duration, response: AttachResponse) -> Vec<Command> {
        self.link.heard(now);
        match response.frame {
            Some(attach_response::Frame::Welcome(welcome)) => self.welcome(now, welcome),
            Some(attach_response::Frame::Task(TaskRequest {
                envelope: Some(envelope),
                ttl_remaining_ms,
            })) => {
                vec![Command::Admit(envelope, Arrival::new(now, ttl_remaining_ms))]
            }
            Some(attach_response::Frame::Task(TaskRequest { envelope: None, .. })) => self.not_understood("task"),
            Some(attach_response::Frame::Cancel(cancel)) => match cancel.attempt_id.parse() {
                // Also when it is not here: the launcher remembers it, should the task come after its cancel.
                Ok(id) => vec![Command::Cancel(id)],
                Err(_) => self.not_understood("cancel"),
            },
            Some(attach_response::Frame::Ack(ack)) => self.acknowledge(&ack),
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
    pub fn admitted(&mut self, now: Duration, arrival: Arrival, decision: Result<Order, NotObeyed>) -> Vec<Command> {
        match decision {
            Ok(order) => {
                if let Some(track) = self.attempts.get(&order.id) {
                    // Delivered before: the answer is what became of it, never a second start.
                    let phase = track.phase;
                    self.accepted(order.id, phase);
                    return vec![];
                }
                // The cloud sends anew what it has no answer to, and hears one answer only.
                if !self.take_refusal_back(order.id) && self.refused_before.contains(&order.id) {
                    // The refusal has left on this link: it is the answer to this one too.
                    return vec![];
                }
                self.refused_before.remove(&order.id);
                let delay = self.cloud_clock.delay(arrival.at, order.envelope.issued_time_us);
                let start_by = arrival.start_by(delay);
                let mut track = Track::new(Phase::Accepted);
                track.window = Window::new(0, self.credit);
                self.attempts.insert(order.id, track);
                // Also when it is too late: that nothing ran can say only the launcher, which knows what has run before.
                let start = Command::Start(Box::new(order), start_by);
                // A delay may also be the cloud's clock that was set back: a new link compares the clocks anew.
                let is_late_by_delay = now >= start_by && now < arrival.start_by(Duration::ZERO);
                let redial = is_late_by_delay.then_some(Command::Redial(Duration::ZERO));
                [start].into_iter().chain(redial).collect()
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

    /// The machine is not what Hello said any more.
    pub fn facts(&mut self, facts: pb::Facts) {
        self.control.push_back(attach_request::Frame::Facts(facts));
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

    /// When [`Self::wake`] and [`Self::dead_after`] are to be asked.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let wake = self.resting.first().map(|(until, _)| *until);
        self.link.deadline(now).into_iter().chain(wake).min()
    }

    /// How long the cloud has been silent, once that is too long.
    pub fn dead_after(&mut self, now: Duration) -> Option<Duration> {
        self.link.dead_after(now)
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
        self.cloud_clock = CloudClock::read(now, welcome.time_us);
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

    fn next_control(&mut self) -> Option<Output> {
        self.control.pop_front().map(|control| Output::Frame(frame(control)))
    }

    fn accepted(&mut self, id: AttemptId, phase: Phase) {
        // Without a link the next Hello says it.
        if self.is_up() {
            self.control.push_back(control::accepted(id, phase));
        }
    }

    fn refused(&mut self, id: AttemptId, refusal: Refusal) {
        self.control.push_back(control::refused(id, refusal));
    }

    /// Says whether a refusal of the attempt was still to be sent. It is not sent any more.
    fn take_refusal_back(&mut self, id: AttemptId) -> bool {
        let before = self.control.len();
        self.control.retain(|frame| control::refused_attempt(frame) != Some(id));
        self.control.len() < before
    }

    fn not_understood(&mut self, name: &str) -> Vec<Command> {
        self.control.push_back(control::unimplemented(name));
        vec![]
    }
}

fn frame(frame: attach_request::Frame) -> AttachRequest {
    AttachRequest { frame: Some(frame) }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
