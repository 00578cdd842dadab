//! People, and what they may do.

use opslink::id::UserId;

/// What a role may do grows from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Runs, cancels and retries tasks.
    Operator,
    /// Agents, join tokens, API tokens.
    Admin,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Login name, unique.
    pub name: String,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// Role.
    pub role: Role,
    /// Only a password change is allowed.
    pub must_change_password: bool,
}
