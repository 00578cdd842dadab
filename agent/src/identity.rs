//! Who this agent is: its key, its certificate, the roots it trusts, and the keys whose tasks it obeys.
//!
//! One file holds all of it, so that a renewal is one rename: there is never a new certificate beside an old key.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use opslink::{id::AgentId, time::UnixMicros};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none: the agent has not joined.
    #[error("{path} does not exist")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The disk said no.
    #[error("{path} cannot be read or written")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not an identity.
    #[error("the identity is damaged: {0}")]
    Damaged(String),
    /// A key could not be made or used.
    #[error("the key pair cannot be made or used")]
    Key(#[source] rcgen::Error),
}

/// A private key and the request for a certificate for it.
pub struct FreshKey {
    key_der: Vec<u8>,
    /// PKCS#10, DER. The cloud ignores its names, so it has none.
    pub csr_der: Vec<u8>,
}

impl FreshKey {
    /// Makes an ECDSA P-256 key and its request.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Key)?;
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .map_err(Error::Key)?;
        Ok(Self {
            key_der: key.serialize_der(),
            csr_der: csr.der().to_vec(),
        })
    }
}

/// Who this agent is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where the cloud is: `https://host:port`.
    pub cloud_url: String,
    /// Given by the cloud, never reused.
    pub agent_id: AgentId,
    /// As the cloud named it when it joined; for people.
    pub agent_name: String,
    /// DER, leaf first.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Roots of the cloud, DER.
    pub roots: Vec<Vec<u8>>,
    /// Ed25519 public keys whose task envelopes are obeyed.
    pub task_keys: Vec<[u8; 32]>,
    key_der: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("agent_id", &self.agent_id)
            .field("cloud_url", &self.cloud_url)
            .finish()
    }
}

/// The file. Binary values in base64.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    cloud_url: String,
    agent_id: String,
    agent_name: String,
    certificate_chain: Vec<String>,
    roots: Vec<String>,
    task_keys: Vec<String>,
    private_key: String,
}

const FORMAT: u32 = 1;

impl Identity {
    /// Makes an identity out of what the cloud answered to a join.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the answer lacks something.
    pub fn from_join(cloud_url: String, key: FreshKey, answer: opslink::pb::JoinResponse) -> Result<Self, Error> {
        let task_keys = answer
            .task_signing_keys
            .iter()
            .map(|key| task_key(key))
            .collect::<Result<_, _>>()?;
        let identity = Self {
            cloud_url,
            agent_id: answer
                .agent_id
                .parse()
                .map_err(|error| Error::Damaged(format!("{error}")))?,
            agent_name: answer.agent_name,
            certificate_chain: answer.certificate_chain_der.iter().map(|der| der.to_vec()).collect(),
            roots: answer.ca_der.iter().map(|der| der.to_vec()).collect(),
            task_keys,
            key_der: key.key_der,
        };
        identity.validity()?;
        if identity.roots.is_empty() || identity.task_keys.is_empty() {
            return Err(Error::Damaged("it names no root or no task signing key".into()));
        }
        Ok(identity)
    }

    /// The same agent with the next certificate.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the answer is not a certificate chain.
    pub fn renewed(&self, key: FreshKey, answer: opslink::pb::RenewCertificateResponse) -> Result<Self, Error> {
        let mut next = self.clone();
        next.key_der = key.key_der;
        next.certificate_chain = answer.certificate_chain_der.iter().map(|der| der.to_vec()).collect();
        if !answer.ca_der.is_empty() {
            next.roots = answer.ca_der.iter().map(|der| der.to_vec()).collect();
        }
        next.validity()?;
        Ok(next)
    }

    /// Reads the identity file.
    ///
    /// # Errors
    /// [`Error::Missing`] before the join; otherwise when the file cannot be used.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Disk {
                path: path.to_owned(),
                source,
            },
        })?;
        let damaged = |error: serde_json::Error| {
            // The parser's own text could quote the key.
            Error::Damaged(format!("not valid at line {} column {}", error.line(), error.column()))
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(damaged)?;
        if stored.format != FORMAT {
            return Err(Error::Damaged(format!(
                "written in format {}, this agent knows {FORMAT}",
                stored.format
            )));
        }
        let decode = |text: &String| BASE64.decode(text).map_err(|_| Error::Damaged("not base64".into()));
        let decode_all = |texts: &[String]| texts.iter().map(decode).collect::<Result<Vec<_>, _>>();
        let task_keys = decode_all(&stored.task_keys)?;
        Ok(Self {
            cloud_url: stored.cloud_url,
            agent_id: stored
                .agent_id
                .parse()
                .map_err(|error| Error::Damaged(format!("{error}")))?,
            agent_name: stored.agent_name,
            certificate_chain: decode_all(&stored.certificate_chain)?,
            roots: decode_all(&stored.roots)?,
            task_keys: task_keys.iter().map(|key| task_key(key)).collect::<Result<_, _>>()?,
            key_der: decode(&stored.private_key)?,
        })
    }

    /// Writes the identity file: whole or not at all, durable on return, readable by its owner only.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let encode_all = |list: &[Vec<u8>]| list.iter().map(|der| BASE64.encode(der)).collect();
        let stored = Stored {
            format: FORMAT,
            cloud_url: self.cloud_url.clone(),
            agent_id: self.agent_id.to_string(),
            agent_name: self.agent_name.clone(),
            certificate_chain: encode_all(&self.certificate_chain),
            roots: encode_all(&self.roots),
            task_keys: self.task_keys.iter().map(|key| BASE64.encode(key)).collect(),
            private_key: BASE64.encode(&self.key_der),
        };
        let disk = |source| Error::Disk {
            path: path.to_owned(),
            source,
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(|error| disk(error.into()))?;
        write_atomically(path, &text).map_err(disk)
    }

    /// The certificate chain as rustls wants it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.certificate_chain
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect()
    }

    /// The private key as rustls wants it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()))
    }

    /// Signs with the private key: ECDSA P-256 with SHA-256, ASN.1.
    ///
    /// # Errors
    /// [`Error::Key`] when the key cannot be used.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = KeyPair::try_from(self.key_der.as_slice()).map_err(Error::Key)?;
        key.sign(message).map_err(Error::Key)
    }

    /// When the leaf begins and ceases to be valid.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the leaf is not a certificate.
    pub fn validity(&self) -> Result<Validity, Error> {
        let leaf = self
            .certificate_chain
            .first()
            .ok_or_else(|| Error::Damaged("it has no certificate".into()))?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| Error::Damaged("its certificate cannot be read".into()))?;
        let micros = |seconds: i64| UnixMicros(seconds.saturating_mul(1_000_000));
        let validity = leaf.validity();
        Ok(Validity {
            from: micros(validity.not_before.timestamp()),
            until: micros(validity.not_after.timestamp()),
        })
    }
}

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub from: UnixMicros,
    /// Last moment.
    pub until: UnixMicros,
}

impl Validity {
    /// How long to wait before asking for the next certificate: until half of the life is over, plus up to a tenth of
    /// it by `jitter` (0 to 1), so that agents that joined together do not renew together.
    pub fn renew_after(self, now: UnixMicros, jitter: f64) -> Duration {
        let life = self.until.since(self.from);
        let due = self
            .from
            .plus(life / 2)
            .plus((life / 10).mul_f64(jitter.clamp(0.0, 1.0)));
        due.since(now)
    }
}

fn task_key(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes
        .try_into()
        .map_err(|_| Error::Damaged("a task signing key is not 32 bytes long".into()))
}

/// Writes a file of mode 0600 that is there whole or not at all, durable on return.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    // A left-over of a crash may have another owner's mode: never write a key into it.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn answer(key: &FreshKey) -> opslink::pb::JoinResponse {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).unwrap();
        let csr = rcgen::CertificateSigningRequestParams::from_der(&key.csr_der.as_slice().into()).unwrap();
        let leaf = csr.signed_by(&ca).unwrap();
        opslink::pb::JoinResponse {
            agent_id: AgentId::new().to_string(),
            agent_name: "a".into(),
            certificate_chain_der: vec![leaf.der().to_vec().into()],
            ca_der: vec![ca.der().to_vec().into()],
            task_signing_keys: vec![vec![7; 32].into()],
        }
    }

    #[test]
    fn an_identity_comes_back_from_its_file_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.json");
        let key = FreshKey::generate().unwrap();
        let answer = answer(&key);
        let identity = Identity::from_join("https://c:1".into(), key, answer).unwrap();
        identity.save(&path).unwrap();
        identity.save(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap(), identity);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_answer_without_roots_or_keys_is_no_identity() {
        let key = FreshKey::generate().unwrap();
        let whole = answer(&key);
        let bare = opslink::pb::JoinResponse {
            task_signing_keys: vec![],
            ..whole
        };
        assert!(matches!(
            Identity::from_join(String::new(), key, bare),
            Err(Error::Damaged(_))
        ));
    }

    #[test]
    fn renewal_is_due_between_half_and_six_tenths_of_the_life() {
        let hour = 3_600_000_000;
        let validity = Validity {
            from: UnixMicros(0),
            until: UnixMicros(24 * hour),
        };
        assert_eq!(validity.renew_after(UnixMicros(0), 0.0), Duration::from_secs(12 * 3600));
        assert!(validity.renew_after(UnixMicros(0), 1.0) <= Duration::from_secs(15 * 3600));
        assert_eq!(validity.renew_after(UnixMicros(20 * hour), 0.5), Duration::ZERO);
    }
}
