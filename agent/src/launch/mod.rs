//! How an attempt is run and remembered, behind one trait: as a runner process with a journal on disk, or inside this
//! process with a journal in memory (simulations). The courier knows only the trait.

mod fork_server;
mod in_process;
mod notices;
mod process;
mod slot;
mod socket;

use std::io;

use async_trait::async_trait;
use opslink::{id::AttemptId, pb};

pub use in_process::InProcess;
pub use notices::Notices;
pub use process::ProcessLauncher;

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
}

/// Why an attempt was not started, and never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// UPPER_SNAKE, from the catalogue.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// Runs attempts and keeps their journal.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Every attempt in the journal, in id order.
    fn known(&self) -> Vec<Known>;

    /// Writes the order into the journal, durably, then starts it. Whatever happens, it starts at most once.
    ///
    /// # Errors
    /// When nothing was started and no trace is left.
    ///
    /// # Cancel
    /// Not cancel safe in effect: the attempt may have started. Run it to its end.
    async fn start(&self, order: Order) -> Result<(), Refusal>;

    /// Asks for the end of an attempt. Holds across restarts of the agent.
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
