//! How an attempt is run and remembered, behind one trait: as a runner process with a journal on disk, or inside this
//! process with a journal in memory (simulations). The courier knows only the trait.

mod early_cancels;
mod first_word;
mod fork_server;
mod in_process;
mod notices;
mod process;
mod shared;
mod slot;
mod socket;

use std::io;

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, reason::Reason};

pub use in_process::InProcess;
pub use notices::Notices;
pub use process::ProcessLauncher;

use crate::{
    clock::Deadline,
    journal::{Past, Place, Unstarted},
    policy::Permit,
};

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In the journal, nothing started.
    Accepted,
    /// Its runner was started.
    Running,
    /// Its End event is in the journal.
    Ended,
}

impl Phase {
    /// Its wire form.
    pub const fn to_pb(self) -> pb::AttemptPhase {
        match self {
            Self::Accepted => pb::AttemptPhase::Accepted,
            Self::Running => pb::AttemptPhase::Running,
            Self::Ended => pb::AttemptPhase::Ended,
        }
    }
}

/// An attempt that is in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The attempt.
    pub id: AttemptId,
    /// How far it is.
    pub phase: Phase,
    /// Events in the journal: 0 … `next_seq` - 1.
    pub next_seq: u64,
}

/// A verified task that shall start.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The attempt.
    pub id: AttemptId,
    /// As it came: goes into the journal.
    pub signed: pb::SignedEnvelope,
    /// What it says.
    pub envelope: pb::TaskEnvelope,
    /// What this machine's owner lets it use.
    pub permit: Permit,
    /// When it is too late to start it; set by the courier's end of the link.
    pub start_by: Option<Deadline>,
}

impl Order {
    /// Says whether it may not start any more.
    pub fn is_too_late(&self) -> bool {
        self.start_by.is_some_and(|start_by| start_by.is_over())
    }

    /// Where it stands among the attempts of its task; `None` when its cloud does not say.
    pub(crate) fn place(&self) -> Option<Place> {
        let task = self.envelope.task_id.parse().ok()?;
        let number = self.envelope.attempt_number;
        (number > 0).then_some(Place { task, number })
    }
}

/// Why an attempt was not started, and never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// UPPER_SNAKE, from the catalogue.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: reason.code(),
            message: message.into(),
        }
    }

    /// The time in which it might start is over.
    pub(crate) fn too_late() -> Self {
        let message = "the task came too late to this agent, or waited there for too long; nothing ran";
        Self::new(Reason::QueueExpired, message)
    }

    /// Its cancel was first.
    pub(crate) fn canceled() -> Self {
        Self::new(Reason::Canceled, "canceled before it started; nothing ran")
    }

    pub(crate) fn unstartable(message: impl Into<String>) -> Self {
        Self::new(Reason::RunnerUnstartable, message)
    }

    /// It is known here.
    pub(crate) fn replayed() -> Self {
        let message = "this attempt has run here before; it is not started again";
        Self::new(Reason::AttemptReplayed, message)
    }

    /// The answer to an attempt that has been here before: one that never started hears the same as the first time.
    pub(crate) fn of(past: Past) -> Self {
        match past {
            Past::MayHaveRun => Self::replayed(),
            Past::Refused(Unstarted::Unstartable) => {
                Self::unstartable("it could not be started when it came first; nothing ran")
            }
            Past::Refused(Unstarted::Canceled) => Self::canceled(),
            Past::Refused(Unstarted::TooLate) => Self::too_late(),
        }
    }
}

/// Runs attempts and keeps their journal.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Every attempt in the journal, in id order.
    fn known(&self) -> Vec<Known>;

    /// Writes the order into the journal, durably, then starts it. Whatever happens, it starts at most once, never too
    /// late, and never after its [`Self::cancel`].
    ///
    /// # Errors
    /// When nothing was started and no trace is left. `ATTEMPT_REPLAYED` says that it was not started now, and may have
    /// run before; it goes before every other reason, and only what has never run gets another.
    ///
    /// # Cancel
    /// Not cancel safe in effect: the attempt may have started. Run it to its end.
    async fn start(&self, order: Order) -> Result<(), Refusal>;

    /// Asks for the end of an attempt. Holds across restarts of the agent. One that is not here is remembered, within
    /// limits: it does not start should it come.
    fn cancel(&self, id: AttemptId);

    /// The cloud has everything below `next_seq`: the spool may forget it.
    fn acknowledged(&self, id: AttemptId, next_seq: u64);

    /// Reads the chunk that holds event `seq`, or the first after it; `None` when there is none yet.
    ///
    /// # Errors
    /// Those of the journal.
    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>>;

    /// The cloud has the attempt for good: its journal goes, the memory that it ran stays.
    fn forget(&self, id: AttemptId);

    /// Waits until attempts have something new, and says which; ended ones come as [`Phase::Ended`].
    ///
    /// # Cancel
    /// Cancel safe. One caller at a time.
    async fn changed(&self) -> Vec<(AttemptId, Phase)>;
}
