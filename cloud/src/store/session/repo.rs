//! What can be asked and changed.

use opslink::time::UnixMicros;

use super::sql;
use crate::store::{
    Result, Store,
    record::{Audit, Session, User},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// Finds a session by the hash of its secret, with its user; expired ones too.
    fn session_get(secret_hash: &[u8]) -> Option<(Session, User)>;
}

writes! {
    /// Adds a session of somebody who has shown a password, as long as its hash is still this one. False when it is not:
    /// then it was changed since it was looked at, and what the change ended does not begin anew.
    fn session_insert(session: Session, password_hash: String, audit: Audit) -> bool;
    /// Removes sessions whose time has passed, at most `limit`; returns how many.
    fn session_remove_expired(now: UnixMicros, limit: u32) -> u64;
}

tx_writes! {
    /// Ends a session.
    fn session_remove(secret_hash: Vec<u8>, audit: Audit) -> ();
}

impl Store {
    /// Ends a session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn session_remove(&self, secret_hash: &[u8], audit: Audit) -> Result<()> {
        self.write((secret_hash.to_vec(), audit), |tx, (secret_hash, audit)| {
            Box::pin(tx.session_remove(secret_hash, audit))
        })
        .await
    }
}
