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
//!       QueueExpired, AgentAbsent │                │                     │
//!     expired  ◄──────────────────┼────────────────┤ Missing, too late   │
//!     refused  ◄──────────────────┼────────────────┤ Refused ────────────┤ (only while nothing has started)
//!     lost     ◄──────────────────┴────────────────┴─────────────────────┘
//!                 AgentRemoved, AgentGone, Unanswered,     Missing, AgentRemoved, AgentGone,
//!                 OutputRefused                            OutputRefused
//! ```
//!
//! A wish to cancel that was noted is never passed over: whatever would bring the execution closer to a start
//! (`Release`, `Dispatch`) ends it as canceled, and an `Accepted` makes the agent hear of the wish once more.
//!
//! An end never changes but by `Retry`, which begins another attempt. `Cancel` of something that was handed over
//! only notes the wish and tells the agent: the end comes from the agent.
//!
//! Why an agent's removal makes waiting executions `canceled` and not `expired`: a person did it. What was handed
//! over becomes `lost`: it may be running, and nobody will ever say.
//!
//! `Missing` means: the agent came back and does not know the attempt. Its journal is written before anything starts,
//! so an attempt that was never accepted did not start and may be sent again; the attempt id is a fencing token,
//! and an agent that knows it after all answers with the state instead of a second start. The cloud may have forgotten,
//! in a failover, that it was accepted and came to its end: then the agent says `ATTEMPT_REPLAYED`, and it is `lost`. So
//! is one that was accepted and is now unknown: it may have run, and is never retried by itself.

use opslink::{
    id::AttemptId,
    reason::Reason,
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

mod contradiction;
mod event;
#[cfg(test)]
mod tests;

pub use event::{CancelCause, Event};

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
    /// When the agent said that it runs; absent while it is merely accepted.
    pub started_at: Option<UnixMicros>,
    /// When it came to its end.
    pub finished_at: Option<UnixMicros>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Stored output equals the produced one.
    pub verified: bool,
}

/// What is to be done once the new state is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Hand the task to the link, under this attempt id.
    Send(AttemptId),
    /// Hand it to the link too late to be started: the agent says what it knows of it.
    Ask(AttemptId),
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
pub fn step(life: &Life, event: &Event, now: UnixMicros) -> Result<(Life, Vec<Effect>), Illegal> {
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
        Event::Release { .. } if life.state == S::Held && life.cancel_requested => cancel(&mut next, now),
        Event::Release { deadline } if life.state == S::Held => {
            next.state = S::Queued;
            next.queue_deadline = *deadline;
            vec![]
        }
        Event::Dispatch { .. } if life.state == S::Queued && life.cancel_requested => cancel(&mut next, now),
        Event::Dispatch { .. } if life.state == S::Queued && too_late(life, now) => {
            end(&mut next, now, expired(now));
            vec![Effect::Finished]
        }
        Event::Dispatch { fresh, start_by } if life.state == S::Queued => {
            let attempt = life.attempt.unwrap_or(*fresh);
            if life.attempt.is_none() {
                next.attempt = Some(attempt);
                next.number = life.number.saturating_add(1);
            }
            next.state = S::Dispatched;
            next.queue_deadline = earlier(life.queue_deadline, *start_by);
            vec![Effect::Send(attempt)]
        }
        Event::Dispatch { .. } if life.state == S::Dispatched => {
            let attempt = life.attempt.ok_or_else(illegal)?;
            vec![send_again(life, attempt, now)]
        }
        Event::Accepted { attempt, started } if handed_over => {
            next.state = S::Running;
            next.started_at = life.started_at.or(started.then_some(now));
            if !life.cancel_requested && next == *life {
                return Err(illegal());
            }
            // The agent may have heard of the wish before it knew the attempt, and ignored it.
            let wish = life.cancel_requested.then_some(Effect::SendCancel(*attempt));
            wish.into_iter().collect()
        }
        // The cloud has given it up, and the agent has it after all: an end never changes, so the work must.
        Event::Accepted { attempt, .. } if given_up(life.state) => vec![Effect::SendCancel(*attempt)],
        // The agent has had it before and keeps its end no more, so the cloud had that end, and lost it in a failover.
        Event::Refused { reason, .. } if reason == Reason::AttemptReplayed.code() && handed_over => {
            let message = "it has run on this agent before, and how it ended is not known here any more";
            end(&mut next, now, lost(reason, message, now));
            vec![Effect::Finished]
        }
        Event::Refused { reason, message, .. } if life.state == S::Dispatched || is_merely_accepted(life) => {
            // A wish to end it came first: then this is how it was fulfilled. An agent refuses so only what this cloud
            // canceled, also when its word comes before the wish is known here.
            let state = if life.cancel_requested || reason == Reason::Canceled.code() {
                S::Canceled
            } else if is_lateness(reason) {
                S::Expired
            } else {
                S::Refused
            };
            end(&mut next, now, nothing_ran(state, reason, message, now));
            vec![Effect::Finished]
        }
        Event::Ended {
            outcome,
            verified,
            attempt,
        } if handed_over && outcome.state.is_terminal() => {
            next.started_at = life.started_at.or(Some(now));
            next.verified = *verified;
            end(&mut next, now, contradiction::believable(outcome));
            vec![Effect::Archive(*attempt), Effect::Finished]
        }
        // The end was stored before the agent heard of it: it must hear it again, or it keeps the journal for ever.
        Event::Ended { attempt, .. } if life.state.is_terminal() => vec![Effect::Archive(*attempt)],
        Event::Verified { .. } if life.state.is_terminal() => {
            next.verified = true;
            vec![]
        }
        Event::OutputRefused { attempt, detail } if handed_over => {
            let message = format!("its output cannot be kept ({detail}); it may have run, and may still");
            end(&mut next, now, lost(Reason::ChunkInvalid.code(), &message, now));
            vec![Effect::SendCancel(*attempt), Effect::Finished]
        }
        Event::Cancel(cause) if waiting => {
            next.cancel_requested = true;
            let (reason, message) = match cause {
                CancelCause::Requested => (Reason::Canceled, "canceled before it started"),
                CancelCause::RolloutStopped => (
                    Reason::RolloutStopped,
                    "not started: too many executions failed before it",
                ),
            };
            end(&mut next, now, nothing_ran(S::Canceled, reason.code(), message, now));
            vec![Effect::Finished]
        }
        Event::Cancel(CancelCause::Requested) if handed_over => {
            next.cancel_requested = true;
            vec![Effect::SendCancel(life.attempt.ok_or_else(illegal)?)]
        }
        Event::QueueExpired | Event::AgentAbsent if life.state == S::Queued && life.cancel_requested => {
            cancel(&mut next, now)
        }
        Event::QueueExpired if life.state == S::Queued && too_late(life, now) => {
            end(&mut next, now, expired(now));
            vec![Effect::Finished]
        }
        Event::AgentAbsent if life.state == S::Queued => {
            let message = "the agent went away while it waited for a slot, and it was not meant to wait for the agent";
            let reason = Reason::QueueExpired.code();
            end(&mut next, now, nothing_ran(S::Expired, reason, message, now));
            vec![Effect::Finished]
        }
        Event::Missing { attempt } if life.state == S::Dispatched => vec![send_again(life, *attempt, now)],
        Event::Missing { .. } if life.state == S::Running => {
            let message = "the agent came back and knows nothing of it; it may have run";
            end(&mut next, now, lost(Reason::AttemptForgotten.code(), message, now));
            vec![Effect::Finished]
        }
        Event::AgentRemoved if waiting => {
            let message = "the agent was removed before it started";
            let reason = Reason::AgentRemoved.code();
            end(&mut next, now, nothing_ran(S::Canceled, reason, message, now));
            vec![Effect::Finished]
        }
        Event::AgentRemoved if handed_over => {
            let message = "the agent was removed; it may have run, and may still";
            end(&mut next, now, lost(Reason::AgentRemoved.code(), message, now));
            vec![Effect::Finished]
        }
        Event::AgentGone if handed_over => {
            let message = "the agent has not come back; it may have run, and may still";
            end(&mut next, now, lost(Reason::AgentGone.code(), message, now));
            vec![Effect::Finished]
        }
        Event::Unanswered if life.state == S::Dispatched && too_late(life, now) => {
            let message = "it was handed to the agent, which has not answered since; it may have run";
            end(&mut next, now, lost(Reason::AgentGone.code(), message, now));
            vec![Effect::Finished]
        }
        Event::Retry {
            of,
            fresh,
            deadline,
            hold,
        } if life.state.is_terminal() && *of == life.attempt => {
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
        | Event::OutputRefused { .. }
        | Event::Cancel(_)
        | Event::QueueExpired
        | Event::AgentAbsent
        | Event::Missing { .. }
        | Event::AgentRemoved
        | Event::AgentGone
        | Event::Unanswered
        | Event::Retry { .. } => return Err(illegal()),
    };
    Ok((next, actions))
}

/// What was handed over and is not known to have arrived. What may not start any more is sent too: only the agent knows
/// whether it never had it, or has carried it out.
fn send_again(life: &Life, attempt: AttemptId, now: UnixMicros) -> Effect {
    if life.cancel_requested || too_late(life, now) {
        Effect::Ask(attempt)
    } else {
        Effect::Send(attempt)
    }
}

fn too_late(life: &Life, now: UnixMicros) -> bool {
    life.queue_deadline.is_some_and(|deadline| deadline <= now)
}

fn earlier(a: Option<UnixMicros>, b: Option<UnixMicros>) -> Option<UnixMicros> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// In the agent's journal, and nothing has started.
fn is_merely_accepted(life: &Life) -> bool {
    life.state == ExecutionState::Running && life.started_at.is_none()
}

/// Ends that the cloud itself decides: an agent may be at work all the same.
const fn given_up(state: ExecutionState) -> bool {
    use ExecutionState as S;
    match state {
        S::Refused | S::Expired | S::Canceled | S::Lost => true,
        S::Held | S::Queued | S::Dispatched | S::Running | S::Succeeded | S::Failed | S::TimedOut => false,
    }
}

/// Says whether a refusal means that it came too late to be started.
fn is_lateness(reason: &str) -> bool {
    reason == Reason::QueueExpired.code() || reason == Reason::EnvelopeExpired.code()
}

/// Carries out a wish to cancel before anything started.
fn cancel(life: &mut Life, now: UnixMicros) -> Vec<Effect> {
    let (reason, message) = (Reason::Canceled.code(), "canceled before it started");
    let outcome = nothing_ran(ExecutionState::Canceled, reason, message, now);
    end(life, now, outcome);
    vec![Effect::Finished]
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
        events: None,
    }
}

fn expired(now: UnixMicros) -> Outcome {
    let message = "the agent did not come, or had no free slot, before the queue time was over";
    nothing_ran(ExecutionState::Expired, Reason::QueueExpired.code(), message, now)
}

fn lost(reason: &str, message: &str, now: UnixMicros) -> Outcome {
    nothing_ran(ExecutionState::Lost, reason, message, now)
}
