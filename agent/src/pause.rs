//! The wait between two dials, and what is said about it.

use std::time::Duration;

use opslink::{locale::Language, problem::Problem, reason::Reason, session::backoff::FullJitter};

/// The wait between two dials, and what was said about it.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    backoff: FullJitter,
    told: Option<Reason>,
}

impl Pause {
    /// How long to wait before the next dial; at least what the cloud asked for.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        self.backoff.failed(fastrand::f64(), retry_after)
    }

    /// Begins anew: there was a link.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing was said since there was a link.
    pub(crate) fn is_silent(&self) -> bool {
        self.told.is_none()
    }

    /// Logs a problem once, not with every try.
    pub(crate) fn tell(&mut self, problem: &Problem) {
        if self.told.replace(problem.reason) != Some(problem.reason) {
            // Whoever reads this has no other place to look: what to do belongs here.
            let (what, fix) = (problem.what(Language::En), problem.fix(Language::En));
            tracing::warn!(%problem, what, fix, "no link to the cloud; the agent goes on trying");
        }
    }
}
