//! The same in maps.

use opslink::{id::TokenId, time::UnixMicros};

use crate::store::{
    Error, Result,
    memory::State,
    record::{Audit, JoinToken},
};

impl State {
    pub(super) fn join_token_get(&self, id: TokenId) -> Option<JoinToken> {
        self.join_tokens.get(&id).cloned()
    }

    pub(super) fn join_token_list(&self, before: Option<TokenId>, limit: u32) -> Vec<JoinToken> {
        let older = |token: &&JoinToken| before.is_none_or(|before| token.id < before);
        self.join_tokens
            .values()
            .rev()
            .filter(older)
            .take(limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn join_token_insert(&mut self, token: &JoinToken, audit: &Audit) -> Result<()> {
        if self.join_tokens.contains_key(&token.id) {
            return Err(Error::exists("join token", token.id));
        }
        let is_of_the_request = |made: &&JoinToken| {
            made.request_id.is_some() && made.request_id == token.request_id && made.created_by == token.created_by
        };
        if let Some(made) = self.join_tokens.values().find(is_of_the_request) {
            return Err(Error::exists("join token", made.id));
        }
        self.join_tokens.insert(token.id, token.clone());
        self.audit_insert(audit)
    }

    pub(super) fn join_token_revoke(&mut self, id: &TokenId, audit: &Audit) -> Result<()> {
        let token = self
            .join_tokens
            .get_mut(id)
            .ok_or_else(|| Error::not_found("join token", id))?;
        token.revoked = true;
        self.audit_insert(audit)
    }

    pub(super) fn join_token_remove_expired(&mut self, ended_before: &UnixMicros, limit: &u32) -> Result<u64> {
        let ended = self
            .join_tokens
            .values()
            .filter(|token| token.expires_at < *ended_before);
        let mut ended: Vec<_> = ended.map(|token| (token.expires_at, token.id)).collect();
        ended.sort_unstable();
        ended.truncate(*limit as usize);
        for (_, id) in &ended {
            self.join_tokens.remove(id);
        }
        Ok(ended.len() as u64)
    }
}
