//! Who is calling: people by session, programs by API token, agents by client certificate.
//!
//! [`Gate`] is the first line of every handler. It turns a request into a [`Caller`], a [`Visitor`] or an
//! [`AgentPeer`], or into the error that says what to do. [`Accounts`] logs people in and out.

use std::net::SocketAddr;

use bytes::Bytes;
use opslink::{id::AgentId, locale::Language, renewal::ChannelBinding, time::UnixMicros};

use crate::store::record::{Audit, Role, User};

mod accounts;
pub(crate) mod attempts;
mod cache;
mod credential;
mod gate;
mod origin;
mod password;
pub mod secret;

pub use accounts::{Accounts, FirstPassword, LoggedIn};
pub use credential::{CONSOLE_HEADER, SESSION_COOKIES};
pub use gate::Gate;
pub use origin::SameOrigin;

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
    /// SHA-256 of the session's secret, when there is a session.
    pub session_hash: Option<Vec<u8>>,
    /// The person, when there is a session.
    pub user: Option<User>,
}

impl Caller {
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
}
