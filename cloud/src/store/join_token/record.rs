//! Join tokens.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, TokenId},
    time::UnixMicros,
};

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Public id.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Labels that the agent gets.
    pub labels: BTreeMap<String, String>,
    /// Name that the agent gets; empty lets it propose one.
    pub agent_name: String,
    /// Actor who made it.
    pub created_by: String,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
    /// When used, and by which agent.
    pub used: Option<(UnixMicros, AgentId)>,
    /// Unusable.
    pub revoked: bool,
    /// Id that its maker gave the request: no other token of that maker has it. Absent when none was given.
    pub request_id: Option<String>,
}
