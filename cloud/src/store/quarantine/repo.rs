//! What can be asked and changed.

use opslink::{id::AgentId, time::UnixMicros};

use super::sql;
use crate::store::{
    record::{Audit, Quarantine},
    tx::{reads, writes},
};

reads! {
    /// Whether and why an agent is kept out; one whose time has passed is not.
    fn quarantine_get(agent: AgentId, now: UnixMicros) -> Option<Quarantine>;
}

writes! {
    /// Keeps an agent out; what was there before is replaced.
    fn quarantine_put(quarantine: Quarantine, audit: Audit) -> ();
    /// Lets an agent in again, with an audit row if it was kept out.
    fn quarantine_remove(agent: AgentId, audit: Audit) -> ();
    /// Removes rows whose time has passed, at most `limit`; returns how many.
    fn quarantine_remove_expired(now: UnixMicros, limit: u32) -> u64;
}
