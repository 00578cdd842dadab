//! The life of an execution. Pure: no clock, no store, no async; `now` is an argument.
//!
//! ```text
//!                 Release             Dispatch              Accepted
//!       held ───────────────► queued ──────────► dispatched ─────────► running
//!         │                     │ ▲                │  │ ▲                │  │
//!         │ Cancel              │ │ Retry          │  │ └─ Missing       │  │
//!         │ AgentRemoved        │ │ (new attempt)  │  │    (sent again)  │  │
//!         ▼                     ▼ │                │  │                  │  │
//!     canceled ◄──────────── canceled ◄────────────┤  │ Ended            │  │ Ended
//!                               │ │   Missing, was │  ▼                  │  ▼
//!     expired  ◄────────────────┘ │   canceled     │ succeeded · failed · timed_out · canceled
//!              QueueExpired       │                │                     │
//!     expired  ◄──────────────────┼────────────────┤ Missing, too late   │
//!     refused  ◄──────────────────┼────────────────┤ Refused             │
//!     lost     ◄──────────────────┴────────────────┴─────────────────────┘
//!                                    AgentRemoved          Missing, AgentRemoved
//! ```
//!
//! An end never changes but by `Retry`, which begins another attempt. `Cancel` of something that was handed over
//! only notes the wish and tells the agent: the end comes from the agent.
//!
//! Why an agent's removal makes waiting executions `canceled` and not `expired`: a person did it. What was handed
//! over becomes `lost`: it may be running, and nobody will ever say.
//!
//! `Missing` means: the agent came back and does not know the attempt. Its journal is written before anything starts,
//! so an attempt that was never accepted did not start and may be sent again; the attempt id is a fencing token,
//! and an agent that knows it after all answers with the state instead of a second start. One that was accepted and
//! is now unknown may have run: `lost`, and never retried by itself.

use opslink::{
    id::AttemptId,
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

#[cfg(test)]
mod tests;

/// What the machine knows of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// State of the newest attempt.
    pub state: ExecutionState,
    /// Newest attempt; absent before the first dispatch.
    pub attempt: Option<AttemptId>,
    /// 1 for the first; 0 before.
    pub number: u32,
    /// When it may no longer start.
    pub queue_deadline: Option<UnixMicros>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// When the agent said that it runs.
    pub started_at: Option<UnixMicros>,
    /// When it came to its end.
    pub finished_at: Option<UnixMicros>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Stored output equals the produced one.
    pub verified: bool,
}

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
    },
    /// The agent has it in its journal, or runs it.
    Accepted {
        /// Which attempt.
        attempt: AttemptId,
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
    /// Somebody wants an end.
    Cancel(CancelCause),
    /// The queue deadline has passed.
    QueueExpired,
    /// The agent came back and does not know this attempt.
    Missing {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The agent was removed for good.
    AgentRemoved,
    /// Once more.
    Retry {
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
            Self::Cancel(_) => "cancel",
            Self::QueueExpired => "queue_expired",
            Self::Missing { .. } => "missing",
            Self::AgentRemoved => "agent_removed",
            Self::Retry { .. } => "retry",
        }
    }

    /// The attempt that the event is about, for events that an agent causes.
    const fn about(&self) -> Option<AttemptId> {
        match self {
            Self::Accepted { attempt }
            | Self::Refused { attempt, .. }
            | Self::Ended { attempt, .. }
            | Self::Verified { attempt }
            | Self::Missing { attempt } => Some(*attempt),
            Self::Release { .. }
            | Self::Dispatch { .. }
            | Self::Cancel(_)
            | Self::QueueExpired
            | Self::AgentRemoved
            | Self::Retry { .. } => None,
        }
    }
}

/// What is to be done once the new state is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Hand the task to the link, under this attempt id.
    Send(AttemptId),
    /// Tell the agent to end this attempt.
    SendCancel(AttemptId),
    /// Tell the agent that the cloud has this attempt for good.
    Archive(AttemptId),
    /// A slot of the agent is free (if it had one) and the rollout may go on.
    Finished,
}

/// An event that means nothing in this state. Nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` means nothing to an execution that is {}", state.word())]
pub struct Illegal {
    /// State that it has.
    pub state: ExecutionState,
    /// [`Event::name`].
    pub event: &'static str,
}

/// Takes one step: the new life, and what follows from it.
///
/// # Errors
/// [`Illegal`] when the event means nothing here: late, repeated, or about another attempt.
pub fn step(life: &Life, event: &Event, now: UnixMicros) -> Result<(Life, Vec<Action>), Illegal> {
    use ExecutionState as S;
    let illegal = || Illegal {
        state: life.state,
        event: event.name(),
    };
    if event.about().is_some_and(|attempt| life.attempt != Some(attempt)) {
        return Err(illegal());
    }
    let mut next = life.clone();
    let waiting = matches!(life.state, S::Held | S::Queued);
    let handed_over = matches!(life.state, S::Dispatched | S::Running);

    let actions = match event {
        Event::Release { deadline } if life.state == S::Held => {
            next.state = S::Queued;
            next.queue_deadline = *deadline;
            vec![]
        }
        Event::Dispatch { fresh } if life.state == S::Queued => {
            let attempt = life.attempt.unwrap_or(*fresh);
            if life.attempt.is_none() {
                next.attempt = Some(attempt);
                next.number = life.number.saturating_add(1);
            }
            next.state = S::Dispatched;
            vec![Action::Send(attempt)]
        }
        Event::Dispatch { .. } if life.state == S::Dispatched => {
            vec![Action::Send(life.attempt.ok_or_else(illegal)?)]
        }
        Event::Accepted { .. } if life.state == S::Dispatched => {
            next.state = S::Running;
            next.started_at = Some(now);
            vec![]
        }
        Event::Refused { reason, message, .. } if life.state == S::Dispatched => {
            // A wish to end it came first: then this is how it was fulfilled.
            let state = if life.cancel_requested { S::Canceled } else { S::Refused };
            end(&mut next, now, nothing_ran(state, reason, message, now));
            vec![Action::Finished]
        }
        Event::Ended {
            outcome,
            verified,
            attempt,
        } if handed_over && outcome.state.is_terminal() => {
            next.started_at = life.started_at.or(Some(now));
            next.verified = *verified;
            end(&mut next, now, outcome.clone());
            vec![Action::Archive(*attempt), Action::Finished]
        }
        // The end was stored before the agent heard of it: it must hear it again, or it keeps the journal for ever.
        Event::Ended { attempt, .. } if life.state.is_terminal() => vec![Action::Archive(*attempt)],
        Event::Verified { .. } if life.state.is_terminal() => {
            next.verified = true;
            vec![]
        }
        Event::Cancel(cause) if waiting => {
            next.cancel_requested = true;
            let (reason, message) = match cause {
                CancelCause::Requested => ("CANCELED", "canceled before it started"),
                CancelCause::RolloutStopped => ("ROLLOUT_STOPPED", "not started: too many executions failed before it"),
            };
            end(&mut next, now, nothing_ran(S::Canceled, reason, message, now));
            vec![Action::Finished]
        }
        Event::Cancel(CancelCause::Requested) if handed_over => {
            next.cancel_requested = true;
            vec![Action::SendCancel(life.attempt.ok_or_else(illegal)?)]
        }
        Event::QueueExpired if life.state == S::Queued && too_late(life, now) => {
            end(&mut next, now, expired(now));
            vec![Action::Finished]
        }
        Event::Missing { attempt } if life.state == S::Dispatched => {
            if life.cancel_requested {
                end(
                    &mut next,
                    now,
                    nothing_ran(S::Canceled, "CANCELED", "canceled before it started", now),
                );
                vec![Action::Finished]
            } else if too_late(life, now) {
                end(&mut next, now, expired(now));
                vec![Action::Finished]
            } else {
                vec![Action::Send(*attempt)]
            }
        }
        Event::Missing { .. } if life.state == S::Running => {
            end(
                &mut next,
                now,
                lost(
                    "ATTEMPT_FORGOTTEN",
                    "the agent came back and knows nothing of it; it may have run",
                    now,
                ),
            );
            vec![Action::Finished]
        }
        Event::AgentRemoved if waiting => {
            let message = "the agent was removed before it started";
            end(&mut next, now, nothing_ran(S::Canceled, "AGENT_REMOVED", message, now));
            vec![Action::Finished]
        }
        Event::AgentRemoved if handed_over => {
            end(
                &mut next,
                now,
                lost(
                    "AGENT_REMOVED",
                    "the agent was removed; it may have run, and may still",
                    now,
                ),
            );
            vec![Action::Finished]
        }
        Event::Retry { fresh, deadline, hold } if life.state.is_terminal() => {
            next = Life {
                state: if *hold { S::Held } else { S::Queued },
                attempt: Some(*fresh),
                number: life.number.saturating_add(1),
                queue_deadline: if *hold { None } else { *deadline },
                cancel_requested: false,
                started_at: None,
                finished_at: None,
                outcome: None,
                verified: false,
            };
            vec![]
        }
        Event::Release { .. }
        | Event::Dispatch { .. }
        | Event::Accepted { .. }
        | Event::Refused { .. }
        | Event::Ended { .. }
        | Event::Verified { .. }
        | Event::Cancel(_)
        | Event::QueueExpired
        | Event::Missing { .. }
        | Event::AgentRemoved
        | Event::Retry { .. } => return Err(illegal()),
    };
    Ok((next, actions))
}

fn too_late(life: &Life, now: UnixMicros) -> bool {
    life.queue_deadline.is_some_and(|deadline| deadline <= now)
}

fn end(life: &mut Life, now: UnixMicros, outcome: Outcome) {
    life.state = outcome.state;
    life.finished_at = Some(now);
    life.outcome = Some(outcome);
}

fn nothing_ran(state: ExecutionState, reason: &str, message: &str, now: UnixMicros) -> Outcome {
    Outcome {
        state,
        exit_code: None,
        signal: None,
        reason: reason.to_owned(),
        message: message.to_owned(),
        streams: Vec::new(),
        started_time_us: 0,
        finished_time_us: now.0,
    }
}

fn expired(now: UnixMicros) -> Outcome {
    let message = "the agent did not come, or had no free slot, before the queue time was over";
    nothing_ran(ExecutionState::Expired, "QUEUE_EXPIRED", message, now)
}

fn lost(reason: &str, message: &str, now: UnixMicros) -> Outcome {
    nothing_ran(ExecutionState::Lost, reason, message, now)
}
