//! The embedded certificate authorities and what they issue.
//!
//! Two roots, never chained and never swapped: one signs this server's own certificate (join tokens and clients pin
//! its SHA-256), the other signs the agents' client certificates. Both are ECDSA P-256, made on first start and kept
//! in the store. Nothing here does IO beside the store's settings.

mod agent;
mod ca;
mod expired;
mod server;

use std::time::{Duration, SystemTime};

use opslink::id::AgentId;
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};
use rustls_pki_types::CertificateDer;

use crate::store::{self, Store};
use ca::Ca;

pub use agent::{AGENT_CERTIFICATE_LIFETIME, AgentIdentity, IdentityError};
pub use expired::{Proof, Refusal};
pub use server::{SERVER_CERTIFICATE_LIFETIME, ServerCertificate};

/// How far certificates reach back, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why the authority could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer. A retry may help.
    #[error("reading the certificate authority")]
    Store(#[from] store::Error),
    /// A stored key or certificate is damaged. A retry does not help.
    #[error("stored {what} is not readable: {message}")]
    Corrupt {
        /// Which setting.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// The request for a certificate cannot be accepted. A retry does not help.
    #[error("certificate request is not acceptable: {0}")]
    Request(&'static str),
    /// Signing or key making failed.
    #[error("making a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The system's random number generator failed.
    #[error("the system's random number generator failed")]
    Random,
}

/// How long agents' certificates are good for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCertificates {
    /// How long one lives; it is renewed at half of this.
    pub lifetime: Duration,
    /// How long after its end it still gets its agent the next one; zero is never.
    pub window: Duration,
}

impl Default for AgentCertificates {
    fn default() -> Self {
        Self {
            lifetime: AGENT_CERTIFICATE_LIFETIME,
            // A site that is shut over the longest holidays, and a machine that waits for a spare part.
            window: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// A certificate with the chain that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Both roots and the trust domain of this cloud.
pub struct Authority {
    agents: Ca,
    servers: Ca,
    trust_domain: String,
    terms: AgentCertificates,
    task_signing_key: Vec<u8>,
    task_public_key: Vec<u8>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads both roots, the instance id and the task signing key from the store; makes them on first start.
    ///
    /// Racing replicas agree: the first write wins and all read it back.
    ///
    /// # Errors
    /// [`Error::Store`] and [`Error::Corrupt`].
    pub async fn load(store: &Store) -> Result<Self, Error> {
        let instance = match store.setting_get("instance_id").await? {
            Some(value) => value,
            None => {
                store
                    .setting_init("instance_id", uuid::Uuid::new_v4().simple().to_string().as_bytes())
                    .await?
            }
        };
        let instance = String::from_utf8(instance).map_err(|error| Error::Corrupt {
            what: "instance_id",
            message: error.to_string(),
        })?;
        let short = instance.get(..8).unwrap_or(&instance);
        let servers = Ca::load(store, "pki_server_ca", &format!("OpsLink cloud CA {short}")).await?;
        let agents = Ca::load(store, "pki_agent_ca", &format!("OpsLink agent CA {short}")).await?;
        let task_signing_key = match store.setting_get("task_signing_key").await? {
            Some(value) => value,
            None => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::Random)?;
                store.setting_init("task_signing_key", made.as_ref()).await?
            }
        };
        let pair = Ed25519KeyPair::from_pkcs8(&task_signing_key).map_err(|error| Error::Corrupt {
            what: "task_signing_key",
            message: error.to_string(),
        })?;
        let task_public_key = ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        Ok(Self {
            agents,
            servers,
            trust_domain: format!("{instance}.opslink"),
            terms: AgentCertificates::default(),
            task_signing_key,
            task_public_key,
        })
    }

    /// Issues agents' certificates on these terms.
    #[must_use]
    pub const fn with_terms(mut self, terms: AgentCertificates) -> Self {
        self.terms = terms;
        self
    }

    /// Returns the domain in the agents' SPIFFE ids; unique per cloud.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Returns the root that signs this server's certificate.
    pub fn server_root(&self) -> &CertificateDer<'static> {
        self.servers.certificate()
    }

    /// Returns the root that signs agents' certificates.
    pub fn agent_root(&self) -> &CertificateDer<'static> {
        self.agents.certificate()
    }

    /// Returns what an agent or client trusts this cloud by, DER.
    pub fn roots_for_clients(&self) -> Vec<CertificateDer<'static>> {
        vec![self.server_root().clone()]
    }

    /// Returns the SHA-256 of the server root's DER, lower-case hexadecimal: what join tokens and clients pin.
    pub fn server_root_sha256(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, self.server_root()))
    }

    /// Returns the server root as PEM.
    pub fn server_root_pem(&self) -> String {
        self.servers.pem()
    }

    /// Returns the Ed25519 key that signs task envelopes, PKCS#8.
    pub fn task_signing_key(&self) -> &[u8] {
        &self.task_signing_key
    }

    /// Returns the public half of [`Self::task_signing_key`], 32 bytes.
    pub fn task_public_key(&self) -> &[u8] {
        &self.task_public_key
    }

    /// Issues a client certificate for this agent and the key in the request, whatever names the request has.
    ///
    /// # Errors
    /// [`Error::Request`] when the request is malformed, not signed by its own key, or has an unusual kind of key.
    pub fn issue_agent(&self, agent: AgentId, csr_der: &[u8], now: SystemTime) -> Result<Issued, Error> {
        let lifetime = self.terms.lifetime;
        agent::issue(&self.agents, &self.trust_domain, lifetime, agent, csr_der, now)
    }

    /// Reads the identity out of a client certificate whose chain was verified against [`Self::agent_root`].
    ///
    /// # Errors
    /// [`IdentityError`] says what is not exactly as issued.
    pub fn identify(&self, certificate: &[u8]) -> Result<AgentIdentity, IdentityError> {
        agent::identify(&self.trust_domain, certificate)
    }

    /// Says who may have the next certificate for an expired one: the agent that is named in it, if this cloud issued
    /// it, not too long ago, and the caller holds its key. Whether that agent still belongs here is not known here.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_expired(&self, proof: &Proof<'_>, now: SystemTime) -> Result<AgentIdentity, Refusal> {
        expired::check(&self.agents, &self.trust_domain, self.terms.window, proof, now)
    }

    /// How long an agent's certificate lives.
    pub const fn lifetime(&self) -> Duration {
        self.terms.lifetime
    }

    /// Returns how long after its end a certificate still gets its agent the next one.
    pub const fn window(&self) -> Duration {
        self.terms.window
    }

    /// Issues this server's certificate for these names, with a new key.
    ///
    /// # Errors
    /// [`Error::Issue`].
    pub fn issue_server(&self, names: &[String], now: SystemTime) -> Result<ServerCertificate, Error> {
        server::issue(&self.servers, names, now)
    }
}

/// Returns a positive random serial number of 128 bits.
fn serial() -> Result<rcgen::SerialNumber, Error> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(rcgen::SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
