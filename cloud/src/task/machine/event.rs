//! What can happen to an execution.

use opslink::{id::AttemptId, task::Outcome, time::UnixMicros};

/// Why somebody wants an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelCause {
    /// A person or program asked.
    Requested,
    /// Too many failures in the rollout.
    RolloutStopped,
}

/// What can happen to an execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Its turn in the rollout has come; it may wait until `deadline`.
    Release {
        /// New queue deadline.
        deadline: Option<UnixMicros>,
    },
    /// The agent is there and has a free slot.
    Dispatch {
        /// Id for a new attempt; unused when a retry already made one.
        fresh: AttemptId,
        /// It may not start later than this, if that is earlier than its queue deadline.
        start_by: Option<UnixMicros>,
    },
    /// The agent has it in its journal, or runs it.
    Accepted {
        /// Which attempt.
        attempt: AttemptId,
        /// It runs; otherwise it is in the journal and nothing has started.
        started: bool,
    },
    /// The agent did not start it and never will.
    Refused {
        /// Which attempt.
        attempt: AttemptId,
        /// UPPER_SNAKE.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// The end is stored.
    Ended {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
        /// The stored output was compared with the outcome's digests, and they are equal.
        verified: bool,
    },
    /// The stored output was compared later.
    Verified {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// What it says is refused however often it comes: nothing more of it will be known.
    OutputRefused {
        /// Which attempt.
        attempt: AttemptId,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody wants an end.
    Cancel(CancelCause),
    /// The queue deadline has passed.
    QueueExpired,
    /// The agent was away while something waited that was not meant to wait for it.
    AgentAbsent,
    /// The agent came back and does not know this attempt.
    Missing {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The agent was removed for good.
    AgentRemoved,
    /// The agent has been away for so long that nobody expects it back.
    AgentGone,
    /// Handed over and never answered; its time is over and its agent stays away.
    Unanswered,
    /// Once more.
    Retry {
        /// The attempt that it is a retry of: nobody else may have retried it meanwhile.
        of: Option<AttemptId>,
        /// Id of the new attempt.
        fresh: AttemptId,
        /// New queue deadline; unused when it is held.
        deadline: Option<UnixMicros>,
        /// Its turn in the rollout has not come.
        hold: bool,
    },
}

impl Event {
    /// Name for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Release { .. } => "release",
            Self::Dispatch { .. } => "dispatch",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Ended { .. } => "ended",
            Self::Verified { .. } => "verified",
            Self::OutputRefused { .. } => "output_refused",
            Self::Cancel(_) => "cancel",
            Self::QueueExpired => "queue_expired",
            Self::AgentAbsent => "agent_absent",
            Self::Missing { .. } => "missing",
            Self::AgentRemoved => "agent_removed",
            Self::AgentGone => "agent_gone",
            Self::Unanswered => "unanswered",
            Self::Retry { .. } => "retry",
        }
    }

    /// The attempt that the event is about, for events that an agent causes.
    pub(super) const fn about(&self) -> Option<AttemptId> {
        match self {
            Self::Accepted { attempt, .. }
            | Self::Refused { attempt, .. }
            | Self::Ended { attempt, .. }
            | Self::Verified { attempt }
            | Self::OutputRefused { attempt, .. }
            | Self::Missing { attempt } => Some(*attempt),
            Self::Release { .. }
            | Self::Dispatch { .. }
            | Self::Cancel(_)
            | Self::QueueExpired
            | Self::AgentAbsent
            | Self::AgentRemoved
            | Self::AgentGone
            | Self::Unanswered
            | Self::Retry { .. } => None,
        }
    }
}
