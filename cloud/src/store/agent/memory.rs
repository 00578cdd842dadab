//! The same in maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::id::{AgentId, TokenId};

use crate::store::{
    Error, Result,
    memory::State,
    record::{Agent, AgentAttach, Audit, JoinResult, NewAgent, Presence},
};

impl State {
    pub(super) fn agent_join(
        &mut self,
        id: &TokenId,
        secret_hash: &[u8],
        new: &NewAgent,
        audit: &Audit,
    ) -> Result<JoinResult> {
        let token = self
            .join_tokens
            .get(id)
            .filter(|token| token.secret_hash == secret_hash);
        let Some(token) = token.cloned() else {
            return Ok(JoinResult::TokenUnknown);
        };
        if token.revoked {
            return Ok(JoinResult::TokenRevoked);
        }
        if token.used.is_some() {
            return Ok(JoinResult::TokenUsed);
        }
        if token.expires_at <= new.enrolled_at {
            return Ok(JoinResult::TokenExpired);
        }
        let name = if token.agent_name.is_empty() {
            new.proposed_name.clone()
        } else {
            token.agent_name.clone()
        };
        if self.agents.values().any(|agent| !agent.removed && agent.name == name) {
            return Ok(JoinResult::NameTaken(name));
        }
        if let Some(token) = self.join_tokens.get_mut(id) {
            token.used = Some((new.enrolled_at, new.id));
        }
        let agent = Agent {
            id: new.id,
            name,
            labels: token.labels,
            facts: Bytes::new(),
            connections: Vec::new(),
            enrolled_at: new.enrolled_at,
            last_seen_at: None,
            session_epoch: 0,
            removed: false,
        };
        self.agents.insert(agent.id, agent.clone());
        self.audit_insert(audit)?;
        Ok(JoinResult::Joined(agent))
    }

    fn with_last_seen(&self, agent: &Agent) -> Agent {
        Agent {
            last_seen_at: self.presences.get(&agent.id).map(|presence| presence.last_seen),
            ..agent.clone()
        }
    }

    pub(super) fn agent_get(&self, id: AgentId) -> Option<Agent> {
        self.agents.get(&id).map(|agent| self.with_last_seen(agent))
    }

    pub(super) fn agent_by_name(&self, name: &str) -> Option<Agent> {
        let mut living = self.agents.values().filter(|agent| !agent.removed);
        let found = living.find(|agent| agent.name == name)?;
        Some(self.with_last_seen(found))
    }

    pub(super) fn agent_list(&self) -> Vec<Agent> {
        let living = self.agents.values().filter(|agent| !agent.removed);
        let mut agents: Vec<_> = living.map(|agent| self.with_last_seen(agent)).collect();
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        agents
    }

    pub(super) fn agent_list_alone(&self) -> Vec<Agent> {
        let alone = |agent: Agent| Agent {
            last_seen_at: None,
            ..agent
        };
        self.agent_list().into_iter().map(alone).collect()
    }

    fn living_agent(&mut self, id: &AgentId) -> Result<&mut Agent> {
        self.agents
            .get_mut(id)
            .filter(|agent| !agent.removed)
            .ok_or_else(|| Error::not_found("agent", id))
    }

    pub(super) fn agent_set_labels(
        &mut self,
        id: &AgentId,
        labels: &BTreeMap<String, String>,
        audit: &Audit,
    ) -> Result<Agent> {
        self.living_agent(id)?.labels.clone_from(labels);
        self.audit_insert(audit)?;
        self.agent_get(*id).ok_or_else(|| Error::not_found("agent", id))
    }

    pub(super) fn agent_remove(&mut self, id: &AgentId, audit: &Audit) -> Result<()> {
        self.living_agent(id)?.removed = true;
        self.audit_insert(audit)
    }

    pub(super) fn agent_attach(&mut self, attach: &AgentAttach) -> Result<u64> {
        let agent = self.living_agent(&attach.id)?;
        agent.facts = attach.facts.clone();
        agent.connections.clone_from(&attach.connections);
        agent.session_epoch += 1;
        let epoch = agent.session_epoch;
        self.presence_put(&Presence {
            agent_id: attach.id,
            replica: attach.replica.clone(),
            epoch,
            lease_until: attach.lease_until,
            last_seen: attach.time,
        });
        Ok(epoch)
    }
}
