//! From what an executor returned, and what the runner had asked of it, to how the attempt ended. Pure.

use std::{any::Any, time::Duration};

use opslink::{reason::Reason, task::ExecutionState};

use crate::executor::{Failure, Finish, PROCESSES_LEFT, STATEMENT_LEFT};

/// What the runner asked for before the executor returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing: the executor returned by itself.
    Nothing,
    /// Somebody asked for the end.
    Cancel,
    /// The deadline passed.
    Deadline(Duration),
    /// The spool cannot keep output any more.
    SpoolBroken,
}

/// An outcome without times and digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: ExecutionState,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    /// Nothing ran.
    pub(super) fn refused(failure: Failure) -> Self {
        Self::without_process(ExecutionState::Refused, failure.reason, failure.message)
    }

    /// Ended before anything ran, because somebody asked.
    pub(super) fn canceled_before_start() -> Self {
        Self::without_process(
            ExecutionState::Canceled,
            Reason::Canceled.code(),
            "canceled before it started; nothing ran".to_owned(),
        )
    }

    /// The executor panicked.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let message = format!("the executor broke down: {text}. This is a fault of OpsLink; please report it");
        Self::without_process(ExecutionState::Failed, Reason::Internal.code(), message)
    }

    /// Asked to end, it did not.
    pub(super) fn left(asked: Asked) -> Self {
        let why = match asked {
            Asked::Nothing => "its output could not be delivered",
            Asked::Cancel => "somebody asked for its end",
            Asked::Deadline(_) => "it ran longer than its timeout",
            Asked::SpoolBroken => "its output could not be written to the agent's journal",
        };
        let message = format!("given up: {why}, and it did not end within its grace; something of it may go on");
        Self::without_process(ExecutionState::Failed, Reason::WorkLeft.code(), message)
    }

    fn without_process(state: ExecutionState, reason: &str, message: String) -> Self {
        Self {
            state,
            exit_code: None,
            signal: None,
            reason: reason.to_owned(),
            message,
        }
    }
}

/// Decides how the attempt ended.
pub(super) fn conclude(result: Result<Finish, Failure>, asked: Asked) -> Verdict {
    let (state, reason, message) = match asked {
        Asked::Nothing => return as_returned(result),
        Asked::Cancel => (
            ExecutionState::Canceled,
            Reason::Canceled.code(),
            "ended because somebody asked for it".to_owned(),
        ),
        Asked::Deadline(timeout) => {
            let message = format!(
                "ended because it ran longer than its timeout of {} s",
                timeout.as_secs_f64()
            );
            (ExecutionState::TimedOut, Reason::TimedOut.code(), message)
        }
        Asked::SpoolBroken => {
            let message = "ended because its output could not be written to the agent's journal; see its disk";
            (ExecutionState::Failed, Reason::SpoolFull.code(), message.to_owned())
        }
    };
    match result {
        // Nobody's wish makes a doubt certain.
        Ok(finish) if finish.state == ExecutionState::Lost => as_returned(Ok(finish)),
        Ok(finish) => Verdict {
            state,
            exit_code: finish.exit_code,
            signal: finish.signal,
            reason: reason.to_owned(),
            message,
        },
        // Only an empty process tree, and a statement that has ended, is a cancel.
        Err(failure) if [PROCESSES_LEFT, STATEMENT_LEFT].contains(&failure.reason) => as_returned(Err(failure)),
        Err(_) => Verdict::without_process(state, reason, message),
    }
}

fn as_returned(result: Result<Finish, Failure>) -> Verdict {
    match result {
        Ok(Finish {
            state,
            exit_code,
            signal,
            reason,
            message,
        }) => Verdict {
            state,
            exit_code,
            signal,
            reason,
            message,
        },
        Err(failure) => Verdict::without_process(ExecutionState::Failed, failure.reason, failure.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed() -> Result<Finish, Failure> {
        Ok(Finish {
            state: ExecutionState::Failed,
            exit_code: None,
            signal: Some(15),
            reason: "KILLED_BY_SIGNAL".to_owned(),
            message: "killed".to_owned(),
        })
    }

    #[test]
    fn what_was_asked_for_names_the_end_and_the_signal_stays() {
        let canceled = conclude(killed(), Asked::Cancel);
        assert_eq!((canceled.state, canceled.signal), (ExecutionState::Canceled, Some(15)));
        let late = conclude(killed(), Asked::Deadline(Duration::from_secs(5)));
        assert_eq!(late.state, ExecutionState::TimedOut);
        assert!(late.message.contains("5 s"), "{}", late.message);
    }

    #[test]
    fn an_end_of_its_own_is_kept() {
        assert_eq!(
            conclude(Ok(Finish::succeeded(Some(0))), Asked::Nothing).state,
            ExecutionState::Succeeded
        );
        assert_eq!(conclude(killed(), Asked::Nothing).reason, "KILLED_BY_SIGNAL");
    }

    #[test]
    fn what_may_still_run_or_have_happened_is_never_called_canceled() {
        let left = conclude(Err(Failure::new(STATEMENT_LEFT, "it may still run")), Asked::Cancel);
        assert_eq!(
            (left.state, left.reason.as_str()),
            (ExecutionState::Failed, STATEMENT_LEFT)
        );
        let doubt = Finish {
            state: ExecutionState::Lost,
            reason: "EFFECT_UNKNOWN".to_owned(),
            ..Finish::succeeded(None)
        };
        let doubt = conclude(Ok(doubt), Asked::Deadline(Duration::from_secs(1)));
        assert_eq!(
            (doubt.state, doubt.reason.as_str()),
            (ExecutionState::Lost, "EFFECT_UNKNOWN")
        );
    }

    #[test]
    fn a_tree_that_is_not_empty_is_never_called_canceled() {
        let left = Err(Failure::new(PROCESSES_LEFT, "2 are left"));
        let verdict = conclude(left, Asked::Cancel);
        assert_eq!(
            (verdict.state, verdict.reason.as_str()),
            (ExecutionState::Failed, PROCESSES_LEFT)
        );
    }
}
