//! The ends that a script can come to.

use opslink::{problem::Problem, reason::Reason, task::ExecutionState};

use super::error::{self, Error};
use crate::executor::{Failure, Finish};

pub(super) fn succeeded() -> Finish {
    Finish::succeeded(None)
}

/// The runner turns this into `canceled` or `timed_out`: it knows who asked.
pub(super) fn canceled() -> Finish {
    ended(
        ExecutionState::Failed,
        Reason::Canceled,
        "canceled before the end of the script".to_owned(),
    )
}

/// A statement failed.
pub(super) fn failed(line: u32, detail: &str) -> Finish {
    ended(
        ExecutionState::Failed,
        Reason::SqlFailed,
        format!("line {line}: {detail}"),
    )
}

/// A statement reached its own limit.
pub(super) fn too_slow(line: u32, detail: &str) -> Finish {
    let message = format!("line {line}: {detail}");
    ended(ExecutionState::Failed, Reason::StatementTimeout, message)
}

/// The COMMIT at the end of one transaction was refused.
pub(super) fn failed_at_end(error: &Error) -> Finish {
    let message = format!("the COMMIT at the end of the script failed: {error}");
    ended(ExecutionState::Failed, Reason::SqlFailed, message)
}

/// The connection was lost while the database was to make something durable: it may have done so.
pub(super) fn doubt(what: &str, error: &Error) -> Finish {
    let problem = Problem::new(Reason::EffectUnknown)
        .with("what", what)
        .with("detail", error.to_string());
    let failure = error::failure(problem);
    ended(ExecutionState::Lost, Reason::EffectUnknown, failure.message)
}

/// The database was asked to end a statement, and did not say that it did.
pub(super) fn left(what: &str, error: &Error) -> Failure {
    let problem = Problem::new(Reason::StatementLeft)
        .with("what", what)
        .with("detail", error.to_string());
    error::failure(problem)
}

fn ended(state: ExecutionState, reason: Reason, message: String) -> Finish {
    Finish {
        state,
        exit_code: None,
        signal: None,
        reason: reason.code().to_owned(),
        message,
    }
}
