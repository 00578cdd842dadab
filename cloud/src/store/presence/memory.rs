//! The same in maps.

use opslink::{id::AgentId, time::UnixMicros};

use crate::store::{
    Result,
    memory::State,
    record::{AgentSeen, Presence},
};

impl State {
    pub(super) fn presence_get(&self, agent: AgentId) -> Option<Presence> {
        self.presences.get(&agent).cloned()
    }

    pub(in crate::store) fn presence_put(&mut self, presence: &Presence) {
        let before = self.presences.get(&presence.agent_id).map(|before| before.last_seen);
        let presence = Presence {
            last_seen: before.map_or(presence.last_seen, |before| before.max(presence.last_seen)),
            ..presence.clone()
        };
        self.presences.insert(presence.agent_id, presence);
    }

    pub(super) fn presence_end(&mut self, agent: &AgentId, epoch: &u64, time: &UnixMicros) -> Result<()> {
        if let Some(presence) = self.presences.get_mut(agent)
            && presence.epoch == *epoch
        {
            presence.lease_until = presence.lease_until.min(*time);
        }
        Ok(())
    }

    pub(super) fn presence_seen(&mut self, replica: &str, seen: &[AgentSeen], lease_until: &UnixMicros) -> Result<()> {
        for AgentSeen { id, time } in seen {
            if let Some(presence) = self.presences.get_mut(id) {
                presence.last_seen = presence.last_seen.max(*time);
                if presence.replica == replica {
                    presence.lease_until = *lease_until;
                }
            }
        }
        Ok(())
    }
}
