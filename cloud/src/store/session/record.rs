//! Who is logged in.

use opslink::{id::UserId, time::UnixMicros};

/// A logged-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the session's secret.
    pub secret_hash: Vec<u8>,
    /// Whose.
    pub user_id: UserId,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
}
