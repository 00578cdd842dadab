//! The server's TLS settings: TLS 1.3 only, no resumption, client certificates optional but exact.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring as provider,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    identity::IsLiving,
    pki::{Authority, ServerCertificate},
};

/// Why the TLS settings could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A root or key was not acceptable to rustls.
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    /// The verifier for client certificates could not be built.
    #[error("client certificate verifier: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's certificate, replaceable while connections come in.
#[derive(Debug)]
pub struct CurrentCertificate {
    current: ArcSwap<CertifiedKey>,
}

impl CurrentCertificate {
    /// Starts with this certificate.
    ///
    /// # Errors
    /// [`Error::Tls`] when the key is of a kind that is not supported.
    pub fn new(certificate: ServerCertificate) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            current: ArcSwap::from(certified(certificate)?),
        }))
    }

    /// Uses this certificate from the next handshake on.
    ///
    /// # Errors
    /// [`Error::Tls`] when the key is of a kind that is not supported; the old certificate stays.
    pub fn replace(&self, certificate: ServerCertificate) -> Result<(), Error> {
        self.current.store(certified(certificate)?);
        Ok(())
    }
}

fn certified(certificate: ServerCertificate) -> Result<Arc<CertifiedKey>, Error> {
    let key = provider::sign::any_ecdsa_type(&certificate.key)?;
    Ok(Arc::new(CertifiedKey::new(certificate.chain, key)))
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Makes the server's TLS settings. `is_living` is asked at every handshake that shows a client certificate.
///
/// # Errors
/// See [`Error`].
pub fn server_config(
    authority: Arc<Authority>,
    certificate: Arc<CurrentCertificate>,
    is_living: IsLiving,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(provider::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.agent_root().clone())?;
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let verifier = Arc::new(AgentVerifier {
        chain,
        authority,
        is_living,
    });

    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    // A resumed session skips the verifier, so a removed agent would be let in (measured): nothing may be resumed.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The chain check of webpki, then ours: exactly one agent of this cloud, and one that was not removed.
struct AgentVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    authority: Arc<Authority>,
    is_living: IsLiving,
}

impl fmt::Debug for AgentVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentVerifier")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let identity = self
            .authority
            .identify(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))?;
        if !(self.is_living)(identity.agent_id) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
