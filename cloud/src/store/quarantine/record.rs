//! Agents that are kept out for a while.

use std::time::Duration;

use opslink::{id::AgentId, reason::Reason, time::UnixMicros};

/// Longest time that a quarantine is remembered when nobody comes: a copy that stays away for a day is let in again, and
/// found again when it takes turns with another.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// An agent that is kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Which.
    pub agent_id: AgentId,
    /// Since when.
    pub since: UnixMicros,
    /// UPPER_SNAKE reason.
    pub reason: String,
    /// Until when.
    pub until: UnixMicros,
}

impl Quarantine {
    /// An agent of which there are two. It ends when only one of them has come for a while, and at the latest in a day.
    pub fn of_copies(agent_id: AgentId, now: UnixMicros) -> Self {
        Self {
            agent_id,
            since: now,
            reason: Reason::AgentCloned.code().to_owned(),
            until: now.plus(LONGEST),
        }
    }
}
