//! Who may have the next certificate though the last one has expired: whoever holds the key of a certificate of ours
//! that is otherwise good. Pure but for the arithmetic of signatures: the time is an argument.
//!
//! Order: the chain before anything is read out of the certificate, the key before anything is told about the agent.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opslink::{
    renewal::{ChannelBinding, signing_input},
    time::UnixMicros,
};
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::{RootCertStore, crypto::ring::default_provider, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{AgentIdentity, IdentityError, agent, ca::Ca};

/// Largest certificate that is looked at; ours have about 500 bytes.
const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// What a caller shows. Not checked yet.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The expired certificate, DER.
    pub certificate: &'a [u8],
    /// The request for the next one, DER; covered by the signature, and checked when that one is issued.
    pub csr: &'a [u8],
    /// Over [`signing_input`], by the key of the certificate.
    pub signature: &'a [u8],
    /// The connection that the caller is on.
    pub channel: &'a ChannelBinding,
}

/// Why there is no next certificate for this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a certificate of one of our agents. A retry does not help.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Not signed by our authority for agents. A retry does not help.
    #[error("certificate is not from this cloud's authority for agents")]
    Chain,
    /// The caller did not prove that it holds the key, on this connection. A retry does not help.
    #[error("the key of the certificate was not proven on this connection")]
    Unproven,
    /// Our clock is before the beginning of its validity: it is wrong here, or was wrong when it was issued.
    #[error("certificate is not valid before {not_before}")]
    NotYetValid {
        /// Begin of its validity.
        not_before: UnixMicros,
    },
    /// It expired longer ago than the window. A retry does not help.
    #[error("certificate expired at {expired_at}, too long ago")]
    TooLate {
        /// End of its validity.
        expired_at: UnixMicros,
    },
}

pub(super) fn check(
    ca: &Ca,
    trust_domain: &str,
    window: Duration,
    proof: &Proof<'_>,
    now: SystemTime,
) -> Result<AgentIdentity, Refusal> {
    if proof.certificate.len() > MAX_CERTIFICATE_BYTES {
        return Err(IdentityError::Malformed.into());
    }
    let (_, parsed) = X509Certificate::from_der(proof.certificate).map_err(|_| IdentityError::Malformed)?;
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = seconds(now);
    // Everything that a handshake would check, as if it were made while the certificate was valid.
    verify_chain(ca, proof.certificate, now.clamp(not_before, not_after.max(not_before)))?;
    let identity = agent::identify(trust_domain, proof.certificate)?;
    verify_key(&parsed, proof)?;
    let micros = |seconds: i64| UnixMicros(seconds.saturating_mul(1_000_000));
    if now < not_before {
        return Err(Refusal::NotYetValid {
            not_before: micros(not_before),
        });
    }
    // One that is still valid gets the next one too: it could ask for it over the link as well.
    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    if now > not_after.saturating_add(window) {
        return Err(Refusal::TooLate {
            expired_at: micros(not_after),
        });
    }
    Ok(identity)
}

fn verify_chain(ca: &Ca, certificate: &[u8], at: i64) -> Result<(), Refusal> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).map_err(|_| Refusal::Chain)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|_| Refusal::Chain)?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)));
    verifier
        .verify_client_cert(&CertificateDer::from(certificate), &[], at)
        .map(drop)
        .map_err(|_| Refusal::Chain)
}

fn verify_key(certificate: &X509Certificate<'_>, proof: &Proof<'_>) -> Result<(), Refusal> {
    let key = SubjectPublicKeyInfo::from_der(certificate.public_key().raw).map_err(|_| Refusal::Unproven)?;
    // The two kinds of key that certificates are issued for.
    let algorithm: &dyn VerificationAlgorithm = if key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
        &ECDSA_P256_SHA256_ASN1
    } else if key.algorithm() == &rcgen::PKCS_ED25519 {
        &ED25519
    } else {
        return Err(Refusal::Unproven);
    };
    UnparsedPublicKey::new(algorithm, key.der_bytes())
        .verify(&signing_input(proof.channel, proof.csr), proof.signature)
        .map_err(|_| Refusal::Unproven)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "expired_tests.rs"]
mod tests;
