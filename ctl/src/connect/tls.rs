//! TLS against a pinned CA. The server sends its leaf and its CA; the pin is the SHA-256 of that CA's DER, so no file
//! with roots is read and no system store is trusted.

use std::{fmt, io, str::FromStr, sync::Arc};

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::connect::{
    dial::{self, DialError},
    endpoint::Endpoint,
};

/// SHA-256 of a CA certificate's DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin([u8; 32]);

impl Pin {
    /// Takes the fingerprint of a certificate.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(pin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Pin {
    type Err = String;

    /// Reads 64 hexadecimal digits; colons and a `sha256:` in front are allowed, as other tools print them.
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim().to_ascii_lowercase();
        let bare = bare.strip_prefix("sha256:").unwrap_or(&bare).replace(':', "");
        let mut pin = [0; 32];
        hex::decode_to_slice(&bare, &mut pin)
            .map_err(|_| format!("`{text}` is not a SHA-256 (64 hexadecimal digits)"))?;
        Ok(Self(pin))
    }
}

/// The chain holds no certificate with the pinned fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("no certificate of the chain has the pinned fingerprint; its CA is {found}")]
struct WrongCa {
    found: String,
}

/// Finds the fingerprint of an unexpected CA in the error of a handshake.
pub(crate) fn wrong_ca(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = tls else {
        return None;
    };
    other.0.downcast_ref::<WrongCa>().map(|wrong| wrong.found.clone())
}

/// Reads a host as the name that the certificate must carry.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())
}

/// Makes a client configuration that trusts exactly the pinned CA.
pub(crate) fn pinned_config(pin: &Pin) -> Result<Arc<ClientConfig>, String> {
    config(Check::Pin(*pin))
}

/// Asks a cloud for its CA without trusting anything yet: what is pinned on first use.
/// The leaf must be signed by that CA and carry the right name.
pub(crate) async fn fetch_ca(endpoint: &Endpoint) -> Result<Pin, DialError> {
    let address = endpoint.authority();
    let failed = |detail: String| DialError::Tls {
        address: address.clone(),
        detail,
    };
    let tcp = dial::tcp(endpoint).await?;
    let name = server_name(endpoint.host()).map_err(failed)?;
    let connector = TlsConnector::from(config(Check::FirstUse).map_err(failed)?);
    let stream = connector
        .connect(name, tcp)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let (_, session) = stream.get_ref();
    let ca = session
        .peer_certificates()
        .and_then(<[_]>::last)
        .ok_or_else(|| failed("it sent no certificate".into()))?;
    Ok(Pin::of(ca))
}

fn config(check: Check) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(PinnedVerifier {
        check,
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A process makes one connection: tickets would only be work.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
enum Check {
    Pin(Pin),
    FirstUse,
}

/// Finds the CA in the presented chain by its fingerprint, then lets webpki check the leaf against it: signature,
/// validity, name, usage.
#[derive(Debug)]
struct PinnedVerifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A chain of one is a self-signed leaf: its own fingerprint is what there is to compare.
        let last = intermediates.last().unwrap_or(end_entity);
        let root = match &self.check {
            Check::FirstUse => last,
            Check::Pin(pin) => intermediates.iter().find(|der| Pin::of(der) == *pin).ok_or_else(|| {
                let wrong = WrongCa {
                    found: Pin::of(last).to_string(),
                };
                rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(wrong))))
            })?,
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_what_other_tools_print() {
        let pin = Pin::of(b"certificate");
        let plain = pin.to_string();
        let colons: Vec<String> = plain
            .as_bytes()
            .chunks(2)
            .map(|two| String::from_utf8(two.to_vec()).unwrap())
            .collect();
        assert_eq!(plain.parse::<Pin>().unwrap(), pin);
        assert_eq!(colons.join(":").to_uppercase().parse::<Pin>().unwrap(), pin);
        assert_eq!(format!("sha256:{plain}").parse::<Pin>().unwrap(), pin);
    }

    #[test]
    fn a_short_pin_is_refused() {
        assert!("abcd".parse::<Pin>().is_err());
        assert!("".parse::<Pin>().is_err());
    }
}
