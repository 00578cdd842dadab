//! What can be asked and changed. Joining with a token is the agent's.

use opslink::{id::TokenId, time::UnixMicros};

use super::sql;
use crate::store::{
    record::{Audit, JoinToken},
    tx::{reads, writes},
};

reads! {
    /// Finds a join token; used, expired and revoked ones too.
    fn join_token_get(id: TokenId) -> Option<JoinToken>;
    /// Join tokens, newest first, older than `before`, at most `limit`.
    fn join_token_list(before: Option<TokenId>, limit: u32) -> Vec<JoinToken>;
}

writes! {
    /// Adds a join token. [`crate::store::Error::Exists`] when its maker has made one with the same request id; `name` is
    /// the id of that one.
    fn join_token_insert(token: JoinToken, audit: Audit) -> ();
    /// Revokes a join token. [`crate::store::Error::NotFound`] when there is none.
    fn join_token_revoke(id: TokenId, audit: Audit) -> ();
    /// Removes join tokens that ended before this time, at most `limit`; returns how many.
    fn join_token_remove_expired(ended_before: UnixMicros, limit: u32) -> u64;
}
