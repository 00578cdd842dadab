//! Exit codes: the one list. `cloudctl` never ends with any other code (a panic aside).

use std::process::ExitCode;

use tonic::Code;

/// How a command ended, as the calling script sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also "nothing to list".
    Done,
    /// The server failed, or something that nobody expected.
    Unexpected,
    /// The command line or its input is wrong; nothing was sent.
    Usage,
    /// Asked and answered: the work failed on at least one target.
    RemoteFailed,
    /// Not logged in, or not allowed.
    NotAllowed,
    /// No such agent, task, token.
    NotFound,
    /// The world is not as the request needs it: an agent offline without `--queue`, a name taken.
    Precondition,
    /// Cannot reach the cloud: DNS, TCP, TLS, proxy.
    Unreachable,
    /// Every target that did not succeed ran into its deadline.
    Timeout,
    /// Ctrl-C, or the reader of our output went away. The task goes on.
    Interrupted,
}

impl Exit {
    /// Every way to end, in order of code. 7 and 8 wait for approvals and diffs.
    pub(crate) const ALL: [Self; 10] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::RemoteFailed,
        Self::NotAllowed,
        Self::NotFound,
        Self::Precondition,
        Self::Unreachable,
        Self::Timeout,
        Self::Interrupted,
    ];

    /// Returns the number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::RemoteFailed => 3,
            Self::NotAllowed => 4,
            Self::NotFound => 5,
            Self::Precondition => 6,
            Self::Unreachable => 9,
            Self::Timeout => 124,
            Self::Interrupted => 130,
        }
    }

    /// Reads a number; anything outside the list is unexpected.
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Unexpected)
    }

    /// Maps a gRPC code: the fallback for answers without a reason from the catalogue.
    pub(crate) const fn from_grpc(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::Unauthenticated | Code::PermissionDenied => Self::NotAllowed,
            Code::NotFound => Self::NotFound,
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => Self::Precondition,
            Code::Unavailable => Self::Unreachable,
            Code::DeadlineExceeded => Self::Timeout,
            Code::Cancelled => Self::Interrupted,
            Code::Unknown | Code::ResourceExhausted | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                Self::Unexpected
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_its_own_code_and_comes_back_from_it() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), exit);
        }
        assert_eq!(Exit::from_code(77), Exit::Unexpected);
    }

    #[test]
    fn remote_failure_never_shares_a_code_with_could_not_ask() {
        for code in (0..=16).map(Code::from_i32) {
            assert_ne!(Exit::from_grpc(code), Exit::RemoteFailed, "{code:?}");
        }
    }

    #[test]
    fn grpc_codes_map_as_the_manual_says() {
        assert_eq!(Exit::from_grpc(Code::Unauthenticated).code(), 4);
        assert_eq!(Exit::from_grpc(Code::NotFound).code(), 5);
        assert_eq!(Exit::from_grpc(Code::FailedPrecondition).code(), 6);
        assert_eq!(Exit::from_grpc(Code::Unavailable).code(), 9);
    }
}
