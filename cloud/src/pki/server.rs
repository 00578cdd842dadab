//! The server's own certificate: short-lived, made again in process long before it ends.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{BACKDATE, Error, ca::Ca, serial};

/// How long the server's certificate lives; it is renewed at half of this.
pub const SERVER_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);

/// A server certificate with its key.
pub struct ServerCertificate {
    /// DER, leaf first, then the root: a client that knows only the root's hash finds the root here.
    pub chain: Vec<CertificateDer<'static>>,
    /// Key of the leaf.
    pub key: PrivateKeyDer<'static>,
    /// When to make the next one.
    pub renew_at: SystemTime,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("renew_at", &self.renew_at)
            .finish_non_exhaustive()
    }
}

pub(super) fn issue(ca: &Ca, names: &[String], now: SystemTime) -> Result<ServerCertificate, Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "OpsLink cloud");
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
        })
        .collect::<Result<_, rcgen::Error>>()?;
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + SERVER_CERTIFICATE_LIFETIME).into();
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, ca.issuer())?;
    Ok(ServerCertificate {
        chain: vec![leaf.into(), ca.certificate().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        renew_at: now + SERVER_CERTIFICATE_LIFETIME / 2,
    })
}
