//! The same in maps.

use crate::store::{Result, memory::State};

impl State {
    pub(super) fn setting_get(&self, key: &str) -> Option<Vec<u8>> {
        self.settings.get(key).cloned()
    }

    pub(super) fn setting_init(&mut self, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        if let Some(value) = self.setting_get(key) {
            return Ok(value);
        }
        self.settings.insert(key.to_owned(), value.to_vec());
        Ok(value.to_vec())
    }
}
