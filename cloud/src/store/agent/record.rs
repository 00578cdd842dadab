//! Enrolled machines.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{id::AgentId, time::UnixMicros};

/// An enrolled machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Id, never reused.
    pub id: AgentId,
    /// Unique among the living.
    pub name: String,
    /// Kept by the server.
    pub labels: BTreeMap<String, String>,
    /// What it last said about itself; `pb::Facts`, encoded.
    pub facts: Bytes,
    /// Its connections; `Vec<(name, kind, is_default)>`.
    pub connections: Vec<(String, String, bool)>,
    /// When it joined.
    pub enrolled_at: UnixMicros,
    /// Last frame of its last link, from its presence.
    pub last_seen_at: Option<UnixMicros>,
    /// Grows with each link.
    pub session_epoch: u64,
    /// Removed: its certificates are refused.
    pub removed: bool,
}

/// How the joining of an agent ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinResult {
    /// The token was consumed and the agent is stored.
    Joined(Agent),
    /// No such token, or another secret.
    TokenUnknown,
    /// Too late.
    TokenExpired,
    /// Somebody was faster.
    TokenUsed,
    /// Revoked.
    TokenRevoked,
    /// The name belongs to a living agent; the token is not consumed.
    NameTaken(String),
}

/// A new agent, but for its name and labels, which the token may decide.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAgent {
    /// Id.
    pub id: AgentId,
    /// Name when the token has none.
    pub proposed_name: String,
    /// Now.
    pub enrolled_at: UnixMicros,
}

/// A link that came up.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentAttach {
    /// Whose.
    pub id: AgentId,
    /// What it says about itself; `pb::Facts`, encoded.
    pub facts: Bytes,
    /// Its connections; `Vec<(name, kind, is_default)>`.
    pub connections: Vec<(String, String, bool)>,
    /// Now.
    pub time: UnixMicros,
    /// The cloud that holds the link.
    pub replica: String,
    /// Until when it is believed without a further sign of life.
    pub lease_until: UnixMicros,
}
