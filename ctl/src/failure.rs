//! Why a command failed, in three lines for people: what, why, do this; with a stable reason and an exit code.

use std::error::Error as StdError;

use opslink::{problem::Problem, reason::Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{connect::DialError, exit::Exit, terminal, text::text};

/// A failure that ends the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code that the process ends with.
    pub(crate) exit: Exit,
    /// UPPER_SNAKE; what scripts and searches match on.
    pub(crate) reason: String,
    /// What happened.
    pub(crate) what: String,
    /// Why; may be empty.
    pub(crate) why: String,
    /// What to do, an exact command where there is one; may be empty.
    pub(crate) fix: String,
}

impl Failure {
    /// A failure found on this side. The sentences and the exit code are those of the shared catalogue when it has the
    /// reason, else the `what`, `why` and `fix` of that name in `cli.ftl`.
    pub(crate) fn local(exit: Exit, reason: &str, args: &[(&'static str, &str)]) -> Self {
        if let Some(known) = Reason::from_code(reason) {
            let problem = args
                .iter()
                .fold(Problem::new(known), |problem, (name, value)| problem.with(*name, value));
            return Self::from_problem(&problem);
        }
        Self {
            exit,
            reason: reason.to_owned(),
            what: text(&format!("{reason}.what"), args),
            why: text(&format!("{reason}.why"), args),
            fix: text(&format!("{reason}.fix"), args),
        }
    }

    /// A failure of the shared catalogue.
    pub(crate) fn from_problem(problem: &Problem) -> Self {
        let language = crate::text::language();
        Self {
            exit: Exit::from_code(problem.reason.exit_code()),
            reason: problem.reason.code().to_owned(),
            what: problem.what(language),
            why: problem.why(language),
            fix: problem.fix(language),
        }
    }

    /// The command line or its input is wrong; nothing was sent.
    pub(crate) fn usage(reason: &'static str, args: &[(&'static str, &str)]) -> Self {
        Self::local(Exit::Usage, reason, args)
    }

    /// Something that nobody expected.
    pub(crate) fn unexpected(detail: &str) -> Self {
        Self::local(Exit::Unexpected, "UNEXPECTED", &[("detail", detail)])
    }

    /// Reads what the server (or the transport below it) answered.
    pub(crate) fn from_status(status: &Status) -> Self {
        if let Some(dial) = find_source::<DialError>(status) {
            return dial.to_failure();
        }
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let exit = Reason::from_code(&reason)
            .map_or_else(|| Exit::from_grpc(status.code()), |r| Exit::from_code(r.exit_code()));
        if let Some(message) = details.localized_message() {
            let (what, why, fix) = three_lines(&message.message);
            return Self {
                exit,
                reason,
                what,
                why,
                fix,
            };
        }
        // An older cloud, a proxy in between, or the transport itself: say what is known.
        let key = match status.code() {
            // Only the transport puts a source behind a status; answers have none.
            _ if StdError::source(status).is_some() => "CONNECTION_LOST",
            Code::Unauthenticated => "NOT_LOGGED_IN",
            Code::PermissionDenied => "NOT_ALLOWED",
            Code::Unavailable => "CONNECTION_LOST",
            Code::Unimplemented => "RPC_UNKNOWN",
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss => "SERVER_SAID",
        };
        let code = format!("{:?}", status.code());
        let exit = if key == "CONNECTION_LOST" {
            Exit::Unreachable
        } else {
            exit
        };
        let mut failure = Self::local(exit, key, &[("detail", message_of(status)), ("code", &code)]);
        if !reason.is_empty() {
            failure.reason = reason;
        }
        failure
    }

    /// Prints the failure to stderr.
    pub(crate) fn print(&self) {
        terminal::error_block(self);
    }
}

/// Splits what, why and fix. Only the first may have several lines: a selector error draws its place.
fn three_lines(text: &str) -> (String, String, String) {
    let mut lines = text.rsplitn(3, '\n').map(str::to_owned);
    let (last, middle, first) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    match (first, middle) {
        (Some(first), middle) => (first, middle.unwrap_or_default(), last),
        (None, Some(middle)) => (middle, String::new(), last),
        (None, None) => (last, String::new(), String::new()),
    }
}

fn message_of(status: &Status) -> &str {
    if status.message().is_empty() {
        "no message"
    } else {
        status.message()
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}

/// Walks an error's sources for a `T`.
pub(crate) fn find_source<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_with_three_lines_keeps_them_and_its_reason() {
        let mut details = ErrorDetails::with_error_info("SOMETHING_NEW", "opslink", std::collections::HashMap::new());
        details.set_localized_message("en", "what it is\nwhy it is\ndo this");
        let status = Status::with_error_details(Code::NotFound, "what it is", details);
        let failure = Failure::from_status(&status);
        assert_eq!(
            (failure.what.as_str(), failure.why.as_str(), failure.fix.as_str()),
            ("what it is", "why it is", "do this")
        );
        assert_eq!(failure.reason, "SOMETHING_NEW");
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[test]
    fn a_drawn_place_stays_with_what_happened() {
        let lines = |text| three_lines(text);
        assert_eq!(
            lines("a\n  b\n  ^\nwhy\nfix"),
            ("a\n  b\n  ^".into(), "why".into(), "fix".into())
        );
        assert_eq!(lines("what\nfix"), ("what".into(), String::new(), "fix".into()));
        assert_eq!(lines("what"), ("what".into(), String::new(), String::new()));
    }

    #[test]
    fn a_bare_status_still_says_something_useful() {
        let failure = Failure::from_status(&Status::unauthenticated("no token"));
        assert_eq!(failure.exit, Exit::NotAllowed);
        assert_eq!(failure.reason, "NOT_LOGGED_IN");
        assert!(failure.fix.contains("cloudctl login"), "{}", failure.fix);
    }

    #[test]
    fn a_message_of_a_proxy_is_shown() {
        let failure = Failure::from_status(&Status::internal("upstream is on fire"));
        assert!(failure.what.contains("upstream is on fire") || failure.why.contains("upstream is on fire"));
        assert_eq!(failure.exit, Exit::Unexpected);
    }
}
