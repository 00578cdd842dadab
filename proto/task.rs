//! What a task asks for, and the states of its executions. No IO, no clock.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

pub use crate::kind::{Action, FakeSpec, FakeStep, ShellProgram, ShellSpec, SqlOnError, SqlSpec, SqlTransaction};

/// What to do: the action and the limits around it. Valid by construction (see [`crate::convert`]).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// The action itself.
    pub action: Action,
    /// Longest run time, counted by the runner on the monotonic clock.
    pub timeout: Duration,
    /// TERM to KILL, when canceled or timed out.
    pub grace: Duration,
}

/// State of an execution; the chart is in the cloud's `task::machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecutionState {
    /// Its turn in the rollout has not come.
    Held,
    /// The agent is offline, or has no free slot.
    Queued,
    /// Handed to the link.
    Dispatched,
    /// The agent has said that it started.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ran into its deadline.
    TimedOut,
    /// Ended because somebody asked for it.
    Canceled,
    /// The agent's policy said no; nothing ran.
    Refused,
    /// Never left the queue.
    Expired,
    /// Handed over, and its outcome cannot be known.
    Lost,
}

impl ExecutionState {
    /// Every state, in order of life.
    pub const ALL: [Self; 11] = [
        Self::Held,
        Self::Queued,
        Self::Dispatched,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Canceled,
        Self::Refused,
        Self::Expired,
        Self::Lost,
    ];

    /// Says whether the state never changes again (for this attempt).
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Held | Self::Queued | Self::Dispatched | Self::Running => false,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Canceled
            | Self::Refused
            | Self::Expired
            | Self::Lost => true,
        }
    }

    /// Returns the word used in the command line, the database and the console.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }

    /// Reads a word made by [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// State of a task: derived from its executions, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Nothing has started.
    Pending,
    /// Something is not at its end.
    Running,
    /// Every execution succeeded.
    Succeeded,
    /// All at an end, and something went wrong.
    Failed,
    /// All at an end, nothing went wrong, something was canceled.
    Canceled,
}

impl TaskState {
    /// Derives the state of a task from how many of its executions are in each state.
    pub fn derive(counts: &BTreeMap<ExecutionState, u32>) -> Self {
        let has = |wanted: &dyn Fn(ExecutionState) -> bool| counts.iter().any(|(state, n)| *n > 0 && wanted(*state));
        if has(&|state| !state.is_terminal()) {
            let waiting = |state| matches!(state, ExecutionState::Held | ExecutionState::Queued);
            return if has(&|state| !waiting(state)) {
                Self::Running
            } else {
                Self::Pending
            };
        }
        let good = |state| matches!(state, ExecutionState::Succeeded | ExecutionState::Canceled);
        if has(&|state| !good(state)) {
            Self::Failed
        } else if has(&|state| state == ExecutionState::Canceled) {
            Self::Canceled
        } else {
            Self::Succeeded
        }
    }

    /// Says whether every execution is at its end.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }

    /// Returns the word used in the command line and the console.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// How an attempt ended, as its runner saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The end state of the execution: never a waiting or running one.
    pub state: ExecutionState,
    /// Exit code of the main process.
    pub exit_code: Option<i32>,
    /// Signal that ended the main process.
    pub signal: Option<i32>,
    /// UPPER_SNAKE reason from the catalogue; empty on success.
    pub reason: String,
    /// One sentence for people; empty on success.
    pub message: String,
    /// What was produced, per stream.
    pub streams: Vec<StreamDigest>,
    /// Microseconds since 1970.
    pub started_time_us: i64,
    /// Microseconds since 1970.
    pub finished_time_us: i64,
    /// What was produced beside output; absent from agents before 0.2.0.
    pub events: Option<EventsDigest>,
}

/// Number and hash of the events of an attempt that are neither output nor the end; how, is in the proto file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsDigest {
    /// How the hash is made; see [`crate::chunk::EventsTally`].
    pub version: u32,
    /// How many.
    pub count: u64,
    /// BLAKE3, 32 bytes.
    pub blake3: Bytes,
}

/// Length and BLAKE3 hash of everything that one stream produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDigest {
    /// Which stream.
    pub stream: crate::event::Stream,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3, 32 bytes.
    pub blake3: Bytes,
}
