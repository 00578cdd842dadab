//! Who is calling: people by session, programs by API token, agents by client certificate.
//!
//! [`Gate`] is asked at the headers of every call and in the first line of every handler. It turns a request into a
//! [`Caller`], a [`Visitor`] or an [`AgentPeer`], or into the error that says what to do; its [`Hold`] ends streams
//! whose caller may not see them any more. [`Accounts`] logs people in and out. [`Trail`] keeps what was refused.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use opslink::{
    convert::InvalidMessage, id::AgentId, locale::Language, problem::Problem, renewal::ChannelBinding, time::UnixMicros,
};

use crate::{
    pki::AgentIdentity,
    store::record::{Audit, Role, User},
};

mod accounts;
pub(crate) mod attempts;
mod cache;
mod credential;
mod gate;
mod hold;
mod lookup;
mod origin;
mod password;
pub mod secret;
mod standing;
mod streams;
mod trail;
mod tries;
mod turns;

pub use accounts::{Accounts, FirstPassword, LoggedIn};
pub use credential::{CONSOLE_HEADER, SESSION_COOKIES};
pub use gate::{Gate, IsLiving};
pub use hold::Hold;
pub use origin::SameOrigin;
pub use standing::{LinkTaken, Standing, Strangers};
#[cfg(test)]
pub(crate) use streams::Streams;
pub(crate) use streams::{Kept, STREAMS_OF_ONE, StreamWeight};
pub use trail::Trail;

/// What the accept loop knows about a connection; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Remote address.
    pub addr: SocketAddr,
    /// Leaf of the client certificate, DER; verified against the agents' CA. Absent without one.
    pub certificate: Option<Bytes>,
    /// False on the plain listener.
    pub tls: bool,
    /// What only both ends of this connection know; absent where an agent's certificate says who it is, and without
    /// TLS.
    pub channel: Option<ChannelBinding>,
}

/// Somebody of whom nothing was asked.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Address that it calls from; empty when unknown.
    pub peer: String,
    /// Language of its messages.
    pub language: Language,
    /// It comes over TLS.
    pub tls: bool,
    /// See [`PeerInfo::channel`].
    pub channel: Option<ChannelBinding>,
    /// It is the console, on our own origin.
    pub is_console: bool,
    /// The connection's standing; absent in tests without one.
    pub standing: Option<Arc<Standing>>,
}

impl Visitor {
    /// It has shown something valid: its connection is no stranger's any more, but this actor's.
    pub fn make_known(&self, actor: &str) {
        if let Some(standing) = &self.standing {
            standing.make_known(actor);
        }
    }
}

/// An authenticated person or program.
#[derive(Debug, Clone)]
pub struct Caller {
    /// User name, or `token:<name>`.
    pub actor: String,
    /// What it may do.
    pub role: Role,
    /// Address that it calls from.
    pub peer: String,
    /// Name of the API token, when there is one.
    pub token_name: Option<String>,
    /// When the API token ends, when there is one: what it makes ends no later.
    pub token_expires_at: Option<UnixMicros>,
    /// SHA-256 of the session's secret, when there is a session.
    pub session_hash: Option<Vec<u8>>,
    /// The person, when there is a session.
    pub user: Option<User>,
}

impl Caller {
    /// Returns when something ends that this caller makes now: as asked, or with the caller's token when it asked for
    /// nothing. A token that made a longer one would outlive its own revocation by whoever limited it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when more was asked for than the token itself has.
    pub fn bound_expiry(
        &self,
        now: UnixMicros,
        asked: Option<Duration>,
        default: Duration,
    ) -> Result<UnixMicros, Problem> {
        let wanted = now.plus(asked.unwrap_or(default));
        match self.token_expires_at {
            Some(own) if wanted > own && asked.is_some() => {
                let detail = "must not outlive the API token that asks; log in with a password for more";
                Err(InvalidMessage::new("ttl_secs", detail).into())
            }
            Some(own) => Ok(wanted.min(own)),
            None => Ok(wanted),
        }
    }

    /// Makes the audit row of something that this caller does now.
    pub fn audit(&self, action: &'static str, resource: String, detail: String) -> Audit {
        Audit {
            time: UnixMicros::now(),
            actor: self.actor.clone(),
            actor_role: Some(self.role),
            action,
            resource,
            detail,
            peer: self.peer.clone(),
        }
    }
}

/// An authenticated agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPeer {
    /// From its certificate; the agent is known and not removed.
    pub agent_id: AgentId,
    /// Address that it calls from.
    pub peer: String,
    /// The certificate that it showed.
    pub certificate: AgentIdentity,
}
