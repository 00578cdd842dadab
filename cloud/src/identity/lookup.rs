//! Sessions and tokens, looked up: recently ones from memory, the rest from the store.

use std::sync::Arc;

use opslink::{problem::Problem, reason::Reason, time::UnixMicros};
use tokio::time::Instant;

use super::{Caller, cache::Cache, credential::Credential};
use crate::{
    status::store_problem,
    store::{Store, record::Token},
};

/// Turns what was shown into a caller.
pub(super) struct Lookup {
    store: Store,
    cache: Cache,
}

impl Lookup {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            cache: Cache::default(),
        }
    }

    /// The caller, when it is known without asking.
    pub(super) fn recent(&self, credential: &Credential) -> Option<Arc<Caller>> {
        match credential {
            Credential::Session(hash) | Credential::Token(hash) => self.cache.get(hash, Instant::now()),
            Credential::Absent | Credential::Unknown | Credential::ForeignPage { .. } => None,
        }
    }

    pub(super) fn forget(&self) {
        self.cache.clear();
    }

    pub(super) async fn caller(&self, credential: &Credential) -> Result<Arc<Caller>, Problem> {
        match credential {
            Credential::Absent | Credential::Unknown => Err(Reason::Unauthenticated.into()),
            Credential::ForeignPage { origin } => Err(Problem::new(Reason::OriginRefused).with("origin", origin)),
            Credential::Session(hash) => self.session(*hash).await,
            Credential::Token(hash) => self.token(*hash).await,
        }
    }

    async fn session(&self, hash: [u8; 32]) -> Result<Arc<Caller>, Problem> {
        if let Some(caller) = self.cache.get(&hash, Instant::now()) {
            return Ok(caller);
        }
        let generation = self.cache.generation();
        let found = self.store.session_get(&hash).await.map_err(store_problem)?;
        let (session, user) = found.ok_or(Reason::Unauthenticated)?;
        let now = UnixMicros::now();
        if session.expires_at <= now {
            return Err(Reason::SessionExpired.into());
        }
        let caller = Arc::new(Caller {
            actor: user.name.clone(),
            role: user.role,
            peer: String::new(),
            token_name: None,
            token_expires_at: None,
            session_hash: Some(hash.to_vec()),
            user: Some(user),
        });
        self.cache.put(
            hash,
            Arc::clone(&caller),
            session.expires_at.since(now),
            Instant::now(),
            generation,
        );
        Ok(caller)
    }

    async fn token(&self, hash: [u8; 32]) -> Result<Arc<Caller>, Problem> {
        if let Some(caller) = self.cache.get(&hash, Instant::now()) {
            return Ok(caller);
        }
        let generation = self.cache.generation();
        let token = self
            .store
            .token_by_hash(&hash)
            .await
            .map_err(store_problem)?
            .ok_or(Reason::Unauthenticated)?;
        let now = UnixMicros::now();
        if token.revoked {
            return Err(Problem::new(Reason::TokenRevoked).with("name", &token.name));
        }
        if token.expires_at <= now {
            return Err(Problem::new(Reason::TokenExpired).with("name", &token.name));
        }
        self.note_use(&token, now);
        let caller = Arc::new(Caller {
            actor: format!("token:{}", token.name),
            role: token.role,
            peer: String::new(),
            token_name: Some(token.name),
            token_expires_at: Some(token.expires_at),
            session_hash: None,
            user: None,
        });
        self.cache.put(
            hash,
            Arc::clone(&caller),
            token.expires_at.since(now),
            Instant::now(),
            generation,
        );
        Ok(caller)
    }

    /// Writes the time of use, to the minute. The call does not wait for it, and losing it harms nobody.
    fn note_use(&self, token: &Token, now: UnixMicros) {
        if token.last_used_at.is_some_and(|last| now.since(last).as_secs() < 60) {
            return;
        }
        let (store, id) = (self.store.clone(), token.id);
        // At most one per token and cache miss; ends with its one write.
        tokio::spawn(async move {
            if let Err(error) = store.token_touch(id, now).await {
                tracing::debug!(%error, "the time of a token's use was not stored");
            }
        });
    }
}
