//! The same in maps.

use super::record::bounded;
use crate::store::{
    Result,
    memory::State,
    record::{Audit, AuditRow},
};

impl State {
    pub(in crate::store) fn audit_insert(&mut self, audit: &Audit) -> Result<()> {
        let id = self.audit.last_key_value().map_or(0, |(id, _)| *id) + 1;
        let audit = audit.clone().cut();
        let row = AuditRow {
            id,
            time: audit.time,
            actor: audit.actor,
            actor_role: audit.actor_role,
            action: audit.action.to_owned(),
            resource: audit.resource,
            detail: audit.detail,
            peer: audit.peer,
        };
        self.audit.insert(id, row);
        Ok(())
    }

    pub(super) fn audit_list(&self, before: Option<i64>, limit: u32) -> Vec<AuditRow> {
        let rows = self.audit.range(..before.unwrap_or(i64::MAX)).rev();
        bounded(rows.take(limit as usize).map(|(_, row)| row.clone()).collect())
    }
}
