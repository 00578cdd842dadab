//! What can be asked and changed.

use super::sql;
use crate::store::{
    Result, Store,
    tx::{reads, tx_writes},
};

reads! {
    /// Reads a setting.
    fn setting_get(key: &str) -> Option<Vec<u8>>;
}

tx_writes! {
    /// Writes a setting unless it exists; returns the value that is now there.
    fn setting_init(key: String, value: Vec<u8>) -> Vec<u8>;
}

impl Store {
    /// Writes a setting unless it exists; returns the value that is now there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn setting_init(&self, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        self.write((key.to_owned(), value.to_vec()), |tx, (key, value)| {
            Box::pin(tx.setting_init(key, value))
        })
        .await
    }
}
