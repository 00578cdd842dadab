//! TLS as libpq's `sslmode` means it: `require` encrypts, `verify-ca` checks the chain, `verify-full` also the name.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    super::error::Error,
    options::{Options, SslMode},
};

/// Certificates that the system trusts, where distributions keep them.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Does the handshake on a socket whose server has agreed to it.
pub(super) async fn handshake(socket: TcpStream, host: &str, options: &Options) -> Result<TlsStream<TcpStream>, Error> {
    let config = config(options)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Config(format!("`{host}` is no name that a certificate could have")))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| Error::Tls(error.to_string()))
}

fn config(options: &Options) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let checks = match options.ssl_mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Checks::Nothing,
        SslMode::Require if options.root_cert.is_none() => Checks::Nothing,
        SslMode::Require | SslMode::VerifyCa => Checks::Chain(chain_verifier(options, &provider)?),
        SslMode::VerifyFull => Checks::All(chain_verifier(options, &provider)?),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { checks, provider }));
    match (&options.client_cert, &options.client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error.to_string()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::Config(format!("sslcert and sslkey do not fit: {error}")))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(Error::Config("its url has sslcert, and sslkey is missing".to_owned())),
        (None, Some(_)) => Err(Error::Config("its url has sslkey, and sslcert is missing".to_owned())),
    }
}

fn chain_verifier(options: &Options, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    match &options.root_cert {
        // libpq's word for what the system trusts.
        Some(path) if path.as_os_str() != "system" => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unreadable(path, &error.to_string()))?;
            }
        }
        Some(_) | None => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            let system = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
            roots.add_parsable_certificates(system.map(certificates).transpose()?.unwrap_or_default());
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| Error::Config(format!("sslrootcert holds no certificate that can be used: {error}")))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, detail: &str) -> Error {
    Error::Config(format!("{} cannot be used: {detail}", path.display()))
}

#[derive(Debug)]
enum Checks {
    Nothing,
    Chain(Arc<WebPkiServerVerifier>),
    All(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    checks: Checks,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        match &self.checks {
            Checks::Nothing => Ok(ServerCertVerified::assertion()),
            Checks::All(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now),
            // The name is checked last: whoever fails there has a good chain.
            Checks::Chain(verifier) => {
                match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
                    Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                        Ok(ServerCertVerified::assertion())
                    }
                    checked => checked,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
