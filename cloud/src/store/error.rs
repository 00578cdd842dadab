//! Why the store could not answer.

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away, busy beyond its time, or full. A retry may help.
    #[error("database is unavailable: {message}")]
    Unavailable {
        /// What the database said.
        message: String,
        /// UPPER_SNAKE reason: `DATABASE_UNAVAILABLE` or `DISK_FULL`.
        reason: &'static str,
        /// The answer to the commit was lost: whether the change was made shows only by looking again. When false,
        /// nothing was changed.
        maybe_done: bool,
    },
    /// A stored value that this version cannot read. A retry does not help.
    #[error("stored {what} is not readable: {message}")]
    Corrupt {
        /// Which record.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// A unique name is taken.
    #[error("{what} `{name}` already exists")]
    Exists {
        /// Which kind.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The record is not there.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// Which kind.
        what: &'static str,
        /// The id or name.
        name: String,
    },
}

impl Error {
    /// Makes the error for a database that is away; nothing was changed.
    pub fn unavailable(message: impl ToString) -> Self {
        Self::Unavailable {
            message: message.to_string(),
            reason: "DATABASE_UNAVAILABLE",
            maybe_done: false,
        }
    }

    /// Makes the error for a commit whose answer was lost.
    pub fn maybe_done(message: impl ToString) -> Self {
        Self::Unavailable {
            message: message.to_string(),
            reason: "DATABASE_UNAVAILABLE",
            maybe_done: true,
        }
    }

    /// Says whether the same call may work later. Everything else stays as it is however often it is tried.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Corrupt { .. } | Self::Exists { .. } | Self::NotFound { .. } => false,
        }
    }

    /// Says whether the change may have been made all the same: only a look tells.
    pub const fn may_be_done(&self) -> bool {
        matches!(self, Self::Unavailable { maybe_done: true, .. })
    }

    /// Makes the error for a missing record.
    pub(super) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }

    /// Makes the error for a taken name.
    pub(super) fn exists(what: &'static str, name: impl ToString) -> Self {
        Self::Exists {
            what,
            name: name.to_string(),
        }
    }
}

/// Result of the store.
pub type Result<T> = std::result::Result<T, Error>;
