//! How the agent speaks TLS: with its own certificate, with none yet, or with one that has expired.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
};
use rustls_pki_types::CertificateDer;

use crate::{dial::Error, identity::Identity};

/// TLS settings of an agent that has an identity.
///
/// # Errors
/// [`Error::Identity`] when key, certificate or roots cannot be used.
pub fn mutual_tls(identity: &Identity) -> Result<Arc<ClientConfig>, Error> {
    let config = client_config(roots_of(identity)?)?
        .with_client_auth_cert(identity.chain(), identity.private_key())
        .map_err(Error::Identity)?;
    Ok(Arc::new(finish(config)))
}

/// TLS settings of an agent whose certificate has expired: the cloud is as well known as ever, and the agent shows
/// nothing.
///
/// # Errors
/// [`Error::Identity`] when the roots cannot be used.
pub fn server_only_tls(identity: &Identity) -> Result<Arc<ClientConfig>, Error> {
    one_way_tls(roots_of(identity)?)
}

/// TLS settings of an agent that has no identity yet.
///
/// # Errors
/// [`Error::Identity`], which the built-in settings do not cause.
pub fn one_way_tls(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(finish(client_config(verifier)?.with_no_client_auth())))
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots_of(identity: &Identity) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for root in &identity.roots {
        roots
            .add(CertificateDer::from(root.as_slice()))
            .map_err(Error::Identity)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::Identity(rustls::Error::General(error.to_string())))
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    // Both ends are OpsLink: nothing older than TLS 1.3 is needed.
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Identity)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of a revoked certificate; the cloud does not offer it either.
    config.resumption = Resumption::disabled();
    config
}
