//! The same in maps.

use opslink::time::UnixMicros;

use crate::store::{
    Error, Result,
    memory::State,
    record::{Audit, Session, User},
};

impl State {
    pub(super) fn session_insert(&mut self, session: &Session, password_hash: &str, audit: &Audit) -> Result<bool> {
        let Some(user) = self.users.get(&session.user_id) else {
            return Err(Error::not_found("user", session.user_id));
        };
        if user.password_hash != password_hash {
            return Ok(false);
        }
        self.sessions.insert(session.secret_hash.clone(), session.clone());
        self.audit_insert(audit)?;
        Ok(true)
    }

    pub(super) fn session_get(&self, secret_hash: &[u8]) -> Option<(Session, User)> {
        let session = self.sessions.get(secret_hash)?;
        let user = self.users.get(&session.user_id)?;
        Some((session.clone(), user.clone()))
    }

    pub(super) fn session_remove(&mut self, secret_hash: &[u8], audit: &Audit) -> Result<()> {
        match self.sessions.remove(secret_hash) {
            Some(_) => self.audit_insert(audit),
            None => Ok(()),
        }
    }

    pub(super) fn session_remove_expired(&mut self, now: &UnixMicros, limit: &u32) -> Result<u64> {
        let mut expired: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.expires_at <= *now)
            .cloned()
            .collect();
        expired.sort_by_key(|session| session.expires_at);
        expired.truncate(*limit as usize);
        for session in &expired {
            self.sessions.remove(session.secret_hash.as_slice());
        }
        Ok(expired.len() as u64)
    }
}
