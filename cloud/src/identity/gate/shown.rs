//! What a call shows of whoever makes it.

use std::sync::OnceLock;

use http::{Extensions, HeaderMap};
use opslink::locale::Language;

use crate::{
    identity::{PeerInfo, credential::Credential},
    pki::AgentIdentity,
    status::header_language,
};

/// What a call shows.
#[derive(Debug, Clone)]
pub(in crate::identity) struct Shown {
    pub(super) credential: Credential,
    pub(super) peer: Option<PeerInfo>,
    /// What its certificate says, once it was read: a stream asks every two seconds for as long as it lives.
    pub(super) identity: OnceLock<AgentIdentity>,
    language: Language,
}

impl Shown {
    pub(super) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            credential: Credential::of(headers, extensions),
            peer: extensions.get::<PeerInfo>().cloned(),
            identity: OnceLock::new(),
            language: header_language(headers),
        }
    }

    pub(in crate::identity) const fn language(&self) -> Language {
        self.language
    }

    pub(super) fn address(&self) -> String {
        self.peer.as_ref().map(|peer| peer.addr.to_string()).unwrap_or_default()
    }
}
