//! The same in maps.

use opslink::{id::AgentId, time::UnixMicros};

use crate::store::{
    Result,
    memory::State,
    record::{Audit, Quarantine},
};

impl State {
    pub(super) fn quarantine_get(&self, agent: AgentId, now: UnixMicros) -> Option<Quarantine> {
        self.quarantines.get(&agent).filter(|row| row.until > now).cloned()
    }

    pub(super) fn quarantine_put(&mut self, quarantine: &Quarantine, audit: &Audit) -> Result<()> {
        self.quarantines.insert(quarantine.agent_id, quarantine.clone());
        self.audit_insert(audit)
    }

    pub(super) fn quarantine_remove(&mut self, agent: &AgentId, audit: &Audit) -> Result<()> {
        match self.quarantines.remove(agent) {
            Some(_) => self.audit_insert(audit),
            None => Ok(()),
        }
    }

    pub(super) fn quarantine_remove_expired(&mut self, now: &UnixMicros, limit: &u32) -> Result<u64> {
        let ended = self.quarantines.values().filter(|row| row.until <= *now);
        let mut ended: Vec<_> = ended.map(|row| (row.until, row.agent_id)).collect();
        ended.sort_unstable();
        ended.truncate(*limit as usize);
        for (_, agent) in &ended {
            self.quarantines.remove(agent);
        }
        Ok(ended.len() as u64)
    }
}
