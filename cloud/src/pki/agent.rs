//! Agents' client certificates: issued for exactly one name, and read back exactly.

use std::time::{Duration, SystemTime};

use opslink::id::AgentId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData, SanType,
    SubjectPublicKeyInfo,
};
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, extensions::GeneralName,
    prelude::FromDer,
};

use super::{BACKDATE, Error, Issued, ca::Ca, serial};

/// How long an agent's certificate lives unless told otherwise; it is renewed at half of this.
pub const AGENT_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Largest request that is looked at; a P-256 request has about 300 bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Who a client certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// From the SPIFFE id.
    pub agent_id: AgentId,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Begin of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

/// Why a certificate is not an agent's, though our authority signed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("certificate is malformed")]
    Malformed,
    /// Not for client authentication, and only that.
    #[error("certificate is not for client authentication")]
    Purpose,
    /// Not exactly one alternative name of kind URI.
    #[error("certificate does not have exactly one URI name")]
    Names,
    /// Not `spiffe://<trust domain>/agent/<uuid>` of this cloud.
    #[error("certificate names no agent of this cloud")]
    NotAnAgent,
}

fn spiffe_prefix(trust_domain: &str) -> String {
    format!("spiffe://{trust_domain}/agent/")
}

pub(super) fn issue(
    ca: &Ca,
    trust_domain: &str,
    lifetime: Duration,
    agent: AgentId,
    csr_der: &[u8],
    now: SystemTime,
) -> Result<Issued, Error> {
    if csr_der.len() > MAX_REQUEST_BYTES {
        return Err(Error::Request("it is too large"));
    }
    let (rest, csr) = X509CertificationRequest::from_der(csr_der).map_err(|_| Error::Request("it is malformed"))?;
    if !rest.is_empty() {
        return Err(Error::Request("it has trailing bytes"));
    }
    // Proof that the sender holds the private key.
    csr.verify_signature()
        .map_err(|_| Error::Request("its signature is wrong"))?;
    let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw)
        .map_err(|_| Error::Request("its kind of key is not supported"))?;
    if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 && key.algorithm() != &rcgen::PKCS_ED25519 {
        return Err(Error::Request("its key is neither ECDSA P-256 nor Ed25519"));
    }

    let not_after = now + lifetime;
    // Nothing of the request but its key: names, usages and constraints are ours.
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uri = format!("{}{agent}", spiffe_prefix(trust_domain));
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    // A tenth at most: half of a short life is over when half of its time is over.
    params.not_before = (now - BACKDATE.min(lifetime / 10)).into();
    params.not_after = not_after.into();
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, ca.issuer())?;
    Ok(Issued {
        chain: vec![leaf.into()],
        not_after,
    })
}

pub(super) fn identify(trust_domain: &str, certificate: &[u8]) -> Result<AgentIdentity, IdentityError> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    let usage = parsed
        .extended_key_usage()
        .map_err(|_| IdentityError::Malformed)?
        .map(|extension| extension.value)
        .ok_or(IdentityError::Purpose)?;
    let only_client = usage.client_auth
        && !(usage.any
            || usage.server_auth
            || usage.code_signing
            || usage.email_protection
            || usage.time_stamping
            || usage.ocsp_signing)
        && usage.other.is_empty();
    if !only_client || parsed.is_ca() {
        return Err(IdentityError::Purpose);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?
        .map(|extension| extension.value)
        .ok_or(IdentityError::Names)?;
    let [GeneralName::URI(uri)] = names.general_names.as_slice() else {
        return Err(IdentityError::Names);
    };
    let agent_id = uri
        .strip_prefix(&spiffe_prefix(trust_domain))
        .and_then(|id| id.parse().ok())
        .ok_or(IdentityError::NotAnAgent)?;
    Ok(AgentIdentity {
        agent_id,
        serial: hex::encode(parsed.raw_serial()),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}
