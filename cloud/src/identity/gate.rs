//! The gate in front of every handler: who is it, and may it?

use std::{
    future::Future,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use opslink::{locale::Language, problem::Problem, reason::Reason, time::UnixMicros};
use tonic::{Request, Status};

use super::{
    AgentPeer, Caller, PeerInfo, Visitor,
    cache::Cache,
    credential::{self, Credential},
};
use crate::{
    authz::{Principal, Rpc},
    pki::Authority,
    service::status::{language, store_problem, to_status},
    store::{
        Store,
        record::{Role, Token},
    },
};

/// Authenticates and authorizes. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    cache: Arc<Cache>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// Makes a gate over this store and authority.
    pub fn new(store: Arc<dyn Store>, authority: Arc<Authority>) -> Self {
        Self {
            store,
            authority,
            cache: Arc::new(Cache::default()),
        }
    }

    /// Lets everybody through, for the RPCs whose row says so.
    ///
    /// # Errors
    /// `INTERNAL` when the row says otherwise: the handler uses the wrong gate.
    pub fn open<T>(&self, request: &Request<T>, rpc: Rpc) -> Result<Visitor, Status> {
        let language = language(request.metadata());
        match rpc.requires() {
            Principal::Anyone => Ok(Visitor {
                peer: credential::peer(request.extensions()),
                language,
                tls: request.extensions().get::<PeerInfo>().is_some_and(|peer| peer.tls),
                channel: request.extensions().get::<PeerInfo>().and_then(|peer| peer.channel),
                is_console: credential::is_console(request.metadata(), request.extensions()),
            }),
            Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin | Principal::Agent => {
                Err(wrong_gate(rpc, language))
            }
        }
    }

    /// Lets a person or program through if the table says so.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a valid login, `PERMISSION_DENIED` with too small a role, `UNAVAILABLE` when the
    /// store cannot be asked.
    pub fn permit<'g, T>(
        &'g self,
        request: &Request<T>,
        rpc: Rpc,
    ) -> impl Future<Output = Result<Caller, Status>> + Send + use<'g, T> {
        let language = language(request.metadata());
        let credential = Credential::of(request.metadata(), request.extensions());
        let peer = credential::peer(request.extensions());
        async move {
            let needed = match rpc.requires() {
                Principal::Session => None,
                Principal::Viewer => Some(Role::Viewer),
                Principal::Operator => Some(Role::Operator),
                Principal::Admin => Some(Role::Admin),
                Principal::Anyone | Principal::Agent => return Err(wrong_gate(rpc, language)),
            };
            let caller = self
                .caller(&credential)
                .await
                .map_err(|problem| to_status(&problem, language))?;
            allow(&caller, needed).map_err(|problem| to_status(&problem, language))?;
            Ok(Caller {
                peer,
                ..Caller::clone(&caller)
            })
        }
    }

    /// Lets an agent through if its certificate is valid and it was not removed.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an agent's certificate, `CERTIFICATE_REVOKED` when it was removed, `UNAVAILABLE` when
    /// the store cannot be asked.
    pub fn agent<'g, T>(
        &'g self,
        request: &Request<T>,
        rpc: Rpc,
    ) -> impl Future<Output = Result<AgentPeer, Status>> + Send + use<'g, T> {
        let language = language(request.metadata());
        let peer = request.extensions().get::<PeerInfo>().cloned();
        async move {
            if rpc.requires() != Principal::Agent {
                return Err(wrong_gate(rpc, language));
            }
            self.agent_peer(peer)
                .await
                .map_err(|problem| to_status(&problem, language))
        }
    }

    /// Forgets recent look-ups: a session, token or password was changed.
    pub(crate) fn forget(&self) {
        self.cache.clear();
    }

    async fn agent_peer(&self, peer: Option<PeerInfo>) -> Result<AgentPeer, Problem> {
        let Some(PeerInfo {
            addr,
            certificate: Some(certificate),
            ..
        }) = peer
        else {
            return Err(Reason::CertificateRequired.into());
        };
        let identity = self
            .authority
            .identify(&certificate)
            .map_err(|error| Problem::new(Reason::CertificateInvalid).with("detail", error))?;
        // The handshake may be hours ago.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if identity.not_after < i64::try_from(now).unwrap_or(i64::MAX) {
            return Err(Problem::new(Reason::CertificateInvalid).with("detail", "certificate has expired"));
        }
        match self.store.agent_get(identity.agent_id).await.map_err(store_problem)? {
            Some(agent) if !agent.removed => Ok(AgentPeer {
                agent_id: identity.agent_id,
                peer: addr.to_string(),
            }),
            Some(_) | None => Err(Reason::CertificateRevoked.into()),
        }
    }

    async fn caller(&self, credential: &Credential) -> Result<Arc<Caller>, Problem> {
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
        let (store, id) = (Arc::clone(&self.store), token.id);
        // At most one per token and cache miss; ends with its one write.
        tokio::spawn(async move {
            if let Err(error) = store.token_touch(id, now).await {
                tracing::debug!(%error, "the time of a token's use was not stored");
            }
        });
    }
}

/// Decides by role; `None` asks for a login only.
fn allow(caller: &Caller, needed: Option<Role>) -> Result<(), Problem> {
    let Some(needed) = needed else { return Ok(()) };
    if caller.user.as_ref().is_some_and(|user| user.must_change_password) {
        return Err(Reason::PasswordChangeRequired.into());
    }
    if caller.role < needed {
        return Err(Problem::new(Reason::PermissionDenied)
            .with("role", role_name(caller.role))
            .with("needed", role_name(needed)));
    }
    Ok(())
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn wrong_gate(rpc: Rpc, language: Language) -> Status {
    tracing::error!(rpc = rpc.method(), "a handler uses the wrong gate");
    to_status(&Problem::new(Reason::Internal).with("detail", "wrong gate"), language)
}
