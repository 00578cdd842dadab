//! The gate in front of every call: who is it, and may it?
//!
//! It is asked twice: when a call's headers are here ([`Gate::check`]), so that nobody without credentials has a body
//! read, and by the handler, by its typed [`Rpc`], so that no look-up of a path decides alone. A stream asks again and
//! again for as long as it lives: see [`Gate::hold`].

use std::{
    future::Future,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{Extensions, HeaderMap};
use opslink::{
    id::AgentId,
    problem::Problem,
    reason::{Code, Reason},
    time::UnixMicros,
};
use tokio::sync::watch;
use tonic::{Request, Status};

use super::{
    AgentPeer, Caller, PeerInfo, Standing, Trail, Visitor,
    credential::{self, Credential},
    hold::Hold,
    lookup::Lookup,
    streams::{Kept, Streams},
};
use crate::{
    authz::{Principal, Rpc},
    pki::{AgentIdentity, Authority},
    status::{language, store_problem, to_status},
    store::{
        Store,
        record::{Audit, Quarantine, Role},
    },
};

mod shown;

pub(super) use shown::Shown;

/// Tells whether an agent still belongs to this cloud.
pub type IsLiving = Arc<dyn Fn(AgentId) -> bool + Send + Sync>;

/// Authenticates and authorizes. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    store: Store,
    authority: Arc<Authority>,
    lookup: Arc<Lookup>,
    trail: Trail,
    is_living: IsLiving,
    /// Counts what was taken away: sessions, tokens, passwords, agents.
    changes: Arc<watch::Sender<u64>>,
    streams: Arc<Streams>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// Makes a gate over this store and authority.
    pub fn new(store: Store, authority: Arc<Authority>, trail: Trail, is_living: IsLiving) -> Self {
        Self {
            lookup: Arc::new(Lookup::new(store.clone())),
            store,
            authority,
            trail,
            is_living,
            changes: Arc::new(watch::Sender::new(0)),
            streams: Arc::default(),
        }
    }

    /// Says at the headers of a call whether its handler would let it in, and whom: a user's name, `token:<name>` or
    /// `agent:<id>`. A connection that shows something valid is no stranger's from then on.
    ///
    /// # Errors
    /// As [`Self::permit`] and [`Self::agent`].
    pub async fn check(&self, rpc: Rpc, headers: &HeaderMap, extensions: &Extensions) -> Result<String, Status> {
        let shown = Shown::of(headers, extensions);
        let checked = match rpc.requires() {
            Principal::Agent => {
                let agent = self.agent_peer(&shown).await;
                agent.map(|agent| format!("agent:{}", agent.agent_id))
            }
            Principal::Anyone | Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin => {
                let caller = self.admit(rpc, &shown.credential).await;
                caller.map(|caller| caller.actor.clone())
            }
        };
        match checked {
            Ok(actor) => {
                if let Some(standing) = extensions.get::<Arc<Standing>>() {
                    standing.make_known(&actor);
                }
                Ok(actor)
            }
            Err(problem) => Err(self.refuse(rpc, &shown, &problem)),
        }
    }

    /// Says whether a request for a file of the console comes from somebody who has logged in; its connection is no
    /// stranger's from then on. A browser sends the cookie with it and not the console's header, and nothing but that is
    /// decided by it: the file is there for everybody.
    pub async fn recognises(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        let caller = self.lookup.caller(&Credential::of_cookie(headers, extensions)).await;
        if let (Ok(caller), Some(standing)) = (&caller, extensions.get::<Arc<Standing>>()) {
            standing.make_known(&caller.actor);
        }
        caller.is_ok()
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
                is_console: credential::is_console(request.metadata().as_ref(), request.extensions()),
                standing: request.extensions().get::<Arc<Standing>>().cloned(),
            }),
            Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin | Principal::Agent => {
                Err(to_status(&wrong_gate(rpc), language))
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
        let shown = Shown::of(request.metadata().as_ref(), request.extensions());
        async move {
            match self.admit(rpc, &shown.credential).await {
                Ok(caller) => Ok(Caller {
                    peer: shown.address(),
                    ..Caller::clone(&caller)
                }),
                Err(problem) => Err(self.refuse(rpc, &shown, &problem)),
            }
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
        let shown = Shown::of(request.metadata().as_ref(), request.extensions());
        async move {
            let peer = match rpc.requires() {
                Principal::Agent => self.agent_peer(&shown).await,
                Principal::Anyone | Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin => {
                    Err(wrong_gate(rpc))
                }
            };
            peer.map_err(|problem| self.refuse(rpc, &shown, &problem))
        }
    }

    /// Watches over the answer of a streaming call that was let in: it ends soon after its caller may not see it any
    /// more.
    pub fn hold<T>(&self, request: &Request<T>, rpc: Rpc) -> Hold {
        let shown = Shown::of(request.metadata().as_ref(), request.extensions());
        Hold::new(self.clone(), rpc, shown)
    }

    /// As [`Self::hold`], for the answer to a person or a program, which may have a number of them open.
    ///
    /// # Errors
    /// `TOO_MANY_STREAMS` when the caller has as many as it may, `OVERLOADED` when all callers together have.
    pub fn hold_of<T>(&self, caller: &Caller, request: &Request<T>, rpc: Rpc) -> Result<Hold, Status> {
        let hold = self.hold(request, rpc);
        let open = self.streams.open(&caller.actor);
        let kept = request.extensions().get::<Kept>().cloned().unwrap_or_default();
        open.map(|open| hold.counted(open, kept))
            .map_err(|problem| to_status(&problem, language(request.metadata())))
    }

    /// Says whether an agent is kept out, also by what was found before this cloud was started.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_quarantined(&self, agent: AgentId, now: UnixMicros) -> Result<bool, Problem> {
        let row = self.store.quarantine_get(agent, now).await.map_err(store_problem)?;
        Ok(row.is_some())
    }

    /// Keeps an agent out, also after a restart.
    ///
    /// # Errors
    /// What the store says.
    pub async fn quarantine(&self, agent: AgentId, audit: Audit) -> Result<(), Problem> {
        let row = Quarantine::of_copies(agent, audit.time);
        self.store.quarantine_put(row, audit).await.map_err(store_problem)
    }

    /// Lets an agent in again.
    ///
    /// # Errors
    /// What the store says.
    pub async fn end_quarantine(&self, agent: AgentId, audit: Audit) -> Result<(), Problem> {
        self.store.quarantine_remove(agent, audit).await.map_err(store_problem)
    }

    /// Notes that somebody read something worth a row, such as output.
    pub fn note(&self, caller: &Caller, action: &'static str, resource: String) {
        self.trail.note_known(caller.audit(action, resource, String::new()));
    }

    /// Forgets recent look-ups and has every stream look again: a session, token, password or agent was taken away.
    pub(crate) fn forget(&self) {
        self.lookup.forget();
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells of everything that is taken away from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Says whether a call that was let in would be let in now.
    pub(super) async fn still(&self, rpc: Rpc, shown: &Shown) -> Result<(), Problem> {
        match rpc.requires() {
            Principal::Anyone => Ok(()),
            Principal::Agent => {
                // From memory: there may be 10,000 of these streams.
                let identity = self.certificate(shown)?;
                if (self.is_living)(identity.agent_id) {
                    Ok(())
                } else {
                    Err(Reason::CertificateRevoked.into())
                }
            }
            Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin => {
                self.admit(rpc, &shown.credential).await.map(drop)
            }
        }
    }

    fn refuse(&self, rpc: Rpc, shown: &Shown, problem: &Problem) -> Status {
        if is_denial(problem.reason) {
            let known = self.name_of(shown);
            let is_known = known.is_some();
            let audit = Audit {
                time: UnixMicros::now(),
                actor: known.unwrap_or_else(|| "anonymous".to_owned()),
                actor_role: None,
                action: "auth.denied",
                resource: format!("rpc/{}", rpc.method()),
                detail: problem.reason.code().to_owned(),
                peer: shown.address(),
            };
            match is_known {
                true => self.trail.note_known(audit),
                false => self.trail.note(audit),
            }
        }
        to_status(problem, shown.language())
    }

    /// The name of whoever was refused, when it is known without asking.
    fn name_of(&self, shown: &Shown) -> Option<String> {
        match (self.lookup.recent(&shown.credential), self.certificate(shown)) {
            (Some(caller), _) => Some(caller.actor.clone()),
            (None, Ok(identity)) => Some(format!("agent:{}", identity.agent_id)),
            (None, Err(_)) => None,
        }
    }

    async fn admit(&self, rpc: Rpc, credential: &Credential) -> Result<Arc<Caller>, Problem> {
        let needed = match rpc.requires() {
            Principal::Session => None,
            Principal::Viewer => Some(Role::Viewer),
            Principal::Operator => Some(Role::Operator),
            Principal::Admin => Some(Role::Admin),
            Principal::Anyone | Principal::Agent => return Err(wrong_gate(rpc)),
        };
        let caller = self.lookup.caller(credential).await?;
        allow(&caller, needed)?;
        Ok(caller)
    }

    fn certificate<'s>(&self, shown: &'s Shown) -> Result<&'s AgentIdentity, Problem> {
        let identity = match shown.identity.get() {
            Some(identity) => identity,
            None => {
                let certificate = shown.peer.as_ref().and_then(|peer| peer.certificate.as_ref());
                let identity = self
                    .authority
                    .identify(certificate.ok_or(Reason::CertificateRequired)?)
                    .map_err(|error| Problem::new(Reason::CertificateInvalid).with("detail", error))?;
                shown.identity.get_or_init(|| identity)
            }
        };
        // The handshake may be hours ago.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if identity.not_after < i64::try_from(now).unwrap_or(i64::MAX) {
            return Err(Problem::new(Reason::CertificateInvalid).with("detail", "certificate has expired"));
        }
        Ok(identity)
    }

    async fn agent_peer(&self, shown: &Shown) -> Result<AgentPeer, Problem> {
        let identity = self.certificate(shown)?;
        match self.store.agent_get(identity.agent_id).await.map_err(store_problem)? {
            Some(agent) if !agent.removed => Ok(AgentPeer {
                agent_id: identity.agent_id,
                peer: shown.address(),
                certificate: identity.clone(),
            }),
            Some(_) | None => Err(Reason::CertificateRevoked.into()),
        }
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

fn wrong_gate(rpc: Rpc) -> Problem {
    tracing::error!(rpc = rpc.method(), "a handler uses the wrong gate");
    Problem::new(Reason::Internal).with("detail", "wrong gate")
}

/// Says whether a refusal is about who calls, and not about the cloud's own state.
fn is_denial(reason: Reason) -> bool {
    matches!(reason.grpc(), Code::Unauthenticated | Code::PermissionDenied)
}

#[cfg(test)]
mod tests;
