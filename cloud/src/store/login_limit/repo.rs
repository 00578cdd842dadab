//! What can be asked and changed.

use opslink::time::UnixMicros;

use super::sql;
use crate::store::{
    record::LoginLimit,
    tx::{reads, writes},
};

reads! {
    /// The tries of a key, if it tried lately.
    fn login_limit_get(key: &str) -> Option<LoginLimit>;
}

writes! {
    /// Counts one try of this key, now, and returns the tries so far. The first try begins a window, which ends at
    /// `lease_until`; so does the first one after its end.
    fn login_limit_add(key: String, now: UnixMicros, lease_until: UnixMicros) -> u32;
    /// Forgets the tries of a key: it got in.
    fn login_limit_remove(key: String) -> ();
    /// Removes rows whose time has passed, at most `limit`; returns how many.
    fn login_limit_remove_expired(now: UnixMicros, limit: u32) -> u64;
}
