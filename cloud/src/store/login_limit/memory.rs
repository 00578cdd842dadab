//! The same in maps.

use opslink::time::UnixMicros;

use crate::store::{Result, memory::State, record::LoginLimit};

impl State {
    pub(super) fn login_limit_get(&self, key: &str) -> Option<LoginLimit> {
        self.login_limits.get(key).cloned()
    }

    pub(super) fn login_limit_add(&mut self, key: &str, now: &UnixMicros, lease_until: &UnixMicros) -> Result<u32> {
        let before = self.login_limits.get(key).filter(|row| row.lease_until > *now).cloned();
        let mut row = before.unwrap_or_else(|| LoginLimit {
            key: key.to_owned(),
            window: *now,
            count: 0,
            lease_until: *lease_until,
        });
        row.count += 1;
        let count = row.count;
        self.login_limits.insert(key.to_owned(), row);
        Ok(count)
    }

    pub(super) fn login_limit_remove(&mut self, key: &str) -> Result<()> {
        self.login_limits.remove(key);
        Ok(())
    }

    pub(super) fn login_limit_remove_expired(&mut self, now: &UnixMicros, limit: &u32) -> Result<u64> {
        let ended = self.login_limits.values().filter(|row| row.lease_until <= *now);
        let mut ended: Vec<_> = ended.map(|row| (row.lease_until, row.key.clone())).collect();
        ended.sort_unstable();
        ended.truncate(*limit as usize);
        for (_, key) in &ended {
            self.login_limits.remove(key.as_str());
        }
        Ok(ended.len() as u64)
    }
}
