//! Join tokens and agents in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    id::{AgentId, TokenId},
    time::UnixMicros,
};

use super::{
    super::{Error, Result, record::*},
    State,
};

impl State {
    pub(super) fn join_token_insert(&mut self, token: JoinToken, audit: Audit) -> Result<()> {
        if self.join_tokens.contains_key(&token.id) {
            return Err(Error::Exists {
                what: "join token",
                name: token.id.to_string(),
            });
        }
        self.join_tokens.insert(token.id, token);
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn join_token_revoke(&mut self, id: TokenId, audit: Audit) -> Result<()> {
        let token = self.join_tokens.get_mut(&id).ok_or_else(|| Error::NotFound {
            what: "join token",
            name: id.to_string(),
        })?;
        token.revoked = true;
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn agent_join(&mut self, id: TokenId, secret_hash: &[u8], new: NewAgent, audit: Audit) -> JoinResult {
        let Some(token) = self
            .join_tokens
            .get_mut(&id)
            .filter(|token| token.secret_hash == secret_hash)
        else {
            return JoinResult::TokenUnknown;
        };
        if token.revoked {
            return JoinResult::TokenRevoked;
        }
        if token.used.is_some() {
            return JoinResult::TokenUsed;
        }
        if token.expires_at <= new.enrolled_at {
            return JoinResult::TokenExpired;
        }
        let name = if token.agent_name.is_empty() {
            new.proposed_name
        } else {
            token.agent_name.clone()
        };
        if self.agents.values().any(|agent| !agent.removed && agent.name == name) {
            return JoinResult::NameTaken(name);
        }
        token.used = Some((new.enrolled_at, new.id));
        let agent = Agent {
            id: new.id,
            name,
            labels: token.labels.clone(),
            facts: Bytes::new(),
            connections: Vec::new(),
            enrolled_at: new.enrolled_at,
            last_seen_at: None,
            session_epoch: 0,
            removed: false,
        };
        self.agents.insert(agent.id, agent.clone());
        self.write_audit(audit);
        JoinResult::Joined(agent)
    }

    pub(super) fn agent_list(&self) -> Vec<Agent> {
        let mut agents: Vec<_> = self.agents.values().filter(|agent| !agent.removed).cloned().collect();
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        agents
    }

    fn living_agent(&mut self, id: AgentId) -> Result<&mut Agent> {
        self.agents
            .get_mut(&id)
            .filter(|agent| !agent.removed)
            .ok_or_else(|| Error::NotFound {
                what: "agent",
                name: id.to_string(),
            })
    }

    pub(super) fn agent_set_labels(
        &mut self,
        id: AgentId,
        labels: BTreeMap<String, String>,
        audit: Audit,
    ) -> Result<Agent> {
        let agent = self.living_agent(id)?;
        agent.labels = labels;
        let agent = agent.clone();
        self.write_audit(audit);
        Ok(agent)
    }

    pub(super) fn agent_remove(&mut self, id: AgentId, audit: Audit) -> Result<()> {
        self.living_agent(id)?.removed = true;
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn agent_attach(
        &mut self,
        id: AgentId,
        facts: Bytes,
        connections: Vec<(String, String, bool)>,
        time: UnixMicros,
    ) -> Result<u64> {
        let agent = self.living_agent(id)?;
        agent.facts = facts;
        agent.connections = connections;
        agent.last_seen_at = agent.last_seen_at.max(Some(time));
        agent.session_epoch += 1;
        Ok(agent.session_epoch)
    }

    pub(super) fn agent_seen(&mut self, seen: &[AgentSeen]) {
        for AgentSeen { id, time } in seen {
            if let Some(agent) = self.agents.get_mut(id) {
                agent.last_seen_at = agent.last_seen_at.max(Some(*time));
            }
        }
    }
}
