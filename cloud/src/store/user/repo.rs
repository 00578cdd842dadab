//! What can be asked and changed.

use opslink::id::UserId;

use super::sql;
use crate::store::{
    Result, Store,
    record::{Audit, User},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// Finds a user by name.
    fn user_by_name(name: &str) -> Option<User>;
    /// Finds a user by id.
    fn user_get(id: UserId) -> Option<User>;
    /// Number of users.
    fn user_count() -> u64;
}

writes! {
    /// Adds a user. [`crate::store::Error::Exists`] when the name is taken.
    fn user_insert(user: User, audit: Audit) -> ();
}

tx_writes! {
    /// Sets the password, clears `must_change_password`, ends every session but `keep`.
    fn user_set_password(id: UserId, password_hash: String, keep: Option<Vec<u8>>, audit: Audit) -> ();
}

impl Store {
    /// Sets the password, clears `must_change_password`, ends every session but `keep`.
    ///
    /// # Errors
    /// There is no such user, or the database is away.
    pub async fn user_set_password(
        &self,
        id: UserId,
        password_hash: &str,
        keep: Option<&[u8]>,
        audit: Audit,
    ) -> Result<()> {
        let input = (id, password_hash.to_owned(), keep.map(<[u8]>::to_vec), audit);
        self.write(input, |tx, (id, hash, keep, audit)| {
            Box::pin(tx.user_set_password(id, hash, keep, audit))
        })
        .await
    }
}
