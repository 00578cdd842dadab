//! What can be asked and changed.

use opslink::{id::TokenId, time::UnixMicros};

use super::sql;
use crate::store::{
    record::{Audit, Token},
    tx::{reads, writes},
};

reads! {
    /// Finds a token by the hash of its secret; expired and revoked ones too.
    fn token_by_hash(secret_hash: &[u8]) -> Option<Token>;
    /// Tokens, newest first, older than `before`, at most `limit`.
    fn token_list(before: Option<TokenId>, limit: u32) -> Vec<Token>;
}

writes! {
    /// Adds an API token. [`crate::store::Error::Exists`] when a living token has the name.
    fn token_insert(token: Token, audit: Audit) -> ();
    /// Revokes a token. [`crate::store::Error::NotFound`] when there is none.
    fn token_revoke(id: TokenId, audit: Audit) -> ();
    /// Notes the use of a token (no audit row).
    fn token_touch(id: TokenId, time: UnixMicros) -> ();
}
