//! The same in maps.

use opslink::{id::TokenId, time::UnixMicros};

use crate::store::{
    Error, Result,
    memory::State,
    record::{Audit, Token},
};

impl State {
    pub(super) fn token_by_hash(&self, secret_hash: &[u8]) -> Option<Token> {
        self.tokens
            .values()
            .find(|token| token.secret_hash == secret_hash)
            .cloned()
    }

    pub(super) fn token_list(&self, before: Option<TokenId>, limit: u32) -> Vec<Token> {
        let older = |token: &&Token| before.is_none_or(|before| token.id < before);
        self.tokens
            .values()
            .rev()
            .filter(older)
            .take(limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn token_insert(&mut self, token: &Token, audit: &Audit) -> Result<()> {
        // A name is free again when its token was revoked or has ended.
        let holds_name =
            |other: &Token| other.name == token.name && !other.revoked && other.expires_at > token.created_at;
        if self.tokens.contains_key(&token.id) || self.tokens.values().any(holds_name) {
            return Err(Error::exists("API token", &token.name));
        }
        self.tokens.insert(token.id, token.clone());
        self.audit_insert(audit)
    }

    pub(super) fn token_revoke(&mut self, id: &TokenId, audit: &Audit) -> Result<()> {
        let token = self
            .tokens
            .get_mut(id)
            .ok_or_else(|| Error::not_found("API token", id))?;
        token.revoked = true;
        self.audit_insert(audit)
    }

    pub(super) fn token_touch(&mut self, id: &TokenId, time: &UnixMicros) -> Result<()> {
        if let Some(token) = self.tokens.get_mut(id) {
            token.last_used_at = token.last_used_at.max(Some(*time));
        }
        Ok(())
    }
}
