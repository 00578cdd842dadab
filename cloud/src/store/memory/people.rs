//! Users, sessions and API tokens in memory.

use opslink::{
    id::{TokenId, UserId},
    time::UnixMicros,
};

use super::{
    super::{Error, Result, record::*},
    State,
};

impl State {
    pub(super) fn user_insert(&mut self, user: User, audit: Audit) -> Result<()> {
        if self.users.contains_key(&user.id) || self.users.values().any(|other| other.name == user.name) {
            return Err(Error::Exists {
                what: "user",
                name: user.name,
            });
        }
        self.users.insert(user.id, user);
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn user_set_password(
        &mut self,
        id: UserId,
        hash: &str,
        keep: Option<&[u8]>,
        audit: Audit,
    ) -> Result<()> {
        let user = self.users.get_mut(&id).ok_or_else(|| Error::NotFound {
            what: "user",
            name: id.to_string(),
        })?;
        user.password_hash = hash.to_owned();
        user.must_change_password = false;
        self.sessions
            .retain(|secret_hash, session| session.user_id != id || Some(secret_hash.as_slice()) == keep);
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn session_insert(&mut self, session: Session, audit: Audit) -> Result<()> {
        if !self.users.contains_key(&session.user_id) {
            return Err(Error::NotFound {
                what: "user",
                name: session.user_id.to_string(),
            });
        }
        self.sessions.insert(session.secret_hash.clone(), session);
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn session_get(&self, secret_hash: &[u8]) -> Option<(Session, User)> {
        let session = self.sessions.get(secret_hash)?;
        let user = self.users.get(&session.user_id)?;
        Some((session.clone(), user.clone()))
    }

    pub(super) fn session_remove(&mut self, secret_hash: &[u8], audit: Audit) {
        if self.sessions.remove(secret_hash).is_some() {
            self.write_audit(audit);
        }
    }

    pub(super) fn token_insert(&mut self, token: Token, audit: Audit) -> Result<()> {
        // A name is free again when its token was revoked or has ended.
        let holds_name =
            |other: &Token| other.name == token.name && !other.revoked && other.expires_at > token.created_at;
        if self.tokens.contains_key(&token.id) || self.tokens.values().any(holds_name) {
            return Err(Error::Exists {
                what: "API token",
                name: token.name,
            });
        }
        self.tokens.insert(token.id, token);
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn token_revoke(&mut self, id: TokenId, audit: Audit) -> Result<()> {
        let token = self.tokens.get_mut(&id).ok_or_else(|| Error::NotFound {
            what: "API token",
            name: id.to_string(),
        })?;
        token.revoked = true;
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn token_touch(&mut self, id: TokenId, time: UnixMicros) {
        if let Some(token) = self.tokens.get_mut(&id) {
            token.last_used_at = token.last_used_at.max(Some(time));
        }
    }
}
