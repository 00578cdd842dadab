//! Why a stream that was followed has ended.

use tonic::Status;

use crate::{failure::Failure, patience::Setback};

/// Why one stream ended.
pub(super) enum Cut {
    /// The cloud has sent everything.
    Complete,
    /// Nobody reads our stdout.
    Unread,
    /// Another stream, from where this one was, may do.
    Again(Setback),
    /// Trying again cannot help.
    Fatal(Failure),
}

impl Cut {
    pub(super) fn of(status: &Status) -> Self {
        Setback::of(status).map_or_else(Self::Fatal, Self::Again)
    }

    pub(super) const fn setback(&self) -> Option<&Setback> {
        match self {
            Self::Again(setback) => Some(setback),
            Self::Complete | Self::Unread | Self::Fatal(_) => None,
        }
    }

    /// The connection is gone, or of no use, as this side sees it.
    pub(super) const fn lost(failure: Failure) -> Self {
        Self::Again(Setback::Lost(failure))
    }
}
