//! Where agents are.

use opslink::{id::AgentId, time::UnixMicros};

/// The newest link of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub agent_id: AgentId,
    /// The cloud that holds the link.
    pub replica: String,
    /// The link's session epoch.
    pub epoch: u64,
    /// Until when the link is believed to be up without a further sign of life.
    pub lease_until: UnixMicros,
    /// Its last frame.
    pub last_seen: UnixMicros,
}

/// A live sign of an agent; many are written at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSeen {
    /// Which.
    pub id: AgentId,
    /// When.
    pub time: UnixMicros,
}
