//! What can be asked and changed.

use super::sql;
use crate::store::{
    record::{Audit, AuditRow},
    tx::{reads, writes},
};

reads! {
    /// Audit rows, newest first, below this id: at most `limit`, and at most 1 MiB of text in all (but always one, if
    /// there is one), so that fewer than `limit` say nothing about the end of the list.
    fn audit_list(before: Option<i64>, limit: u32) -> Vec<AuditRow>;
}

writes! {
    /// Writes an audit row.
    fn audit_insert(audit: Audit) -> ();
}
