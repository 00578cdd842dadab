//! API tokens.

use opslink::{id::TokenId, time::UnixMicros};

use crate::store::record::Role;

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Public id.
    pub id: TokenId,
    /// Name, unique among the living.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Role.
    pub role: Role,
    /// Actor who made it.
    pub created_by: String,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
    /// Last use, to the minute.
    pub last_used_at: Option<UnixMicros>,
    /// Unusable.
    pub revoked: bool,
}
