//! One certificate authority: its key and self-signed root, kept in one setting of the store.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::{BACKDATE, Error, serial};
use crate::store::Store;

/// Roots live long: everything pinned to them dies with them.
const ROOT_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

pub(super) struct Ca {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// Reads the authority from this setting; makes it when it is not there.
    pub(super) async fn load(store: &Store, setting: &'static str, name: &str) -> Result<Self, Error> {
        let stored = match store.setting_get(setting).await? {
            Some(stored) => stored,
            None => store.setting_init(setting, make(name)?.as_bytes()).await?,
        };
        Self::parse(setting, &stored)
    }

    fn parse(setting: &'static str, pem: &[u8]) -> Result<Self, Error> {
        let corrupt = |message: String| Error::Corrupt { what: setting, message };
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| corrupt(error.to_string()))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| corrupt(error.to_string()))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|error| corrupt(error.to_string()))?;
        let text = String::from_utf8_lossy(pem);
        // The certificate comes first; the key must never leave by this way.
        let end = "-----END CERTIFICATE-----";
        let length = text
            .find(end)
            .map(|at| at + end.len())
            .ok_or_else(|| corrupt("no certificate".to_owned()))?;
        let public = format!("{}\n", text.get(..length).unwrap_or_default());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| corrupt(error.to_string()))?;
        Ok(Self {
            certificate,
            pem: public,
            issuer,
        })
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn pem(&self) -> String {
        self.pem.clone()
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

/// Makes a root; returns its certificate and then its key, PEM.
fn make(name: &str) -> Result<String, Error> {
    let now = SystemTime::now();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    params.serial_number = Some(serial()?);
    // No intermediate authorities: a leaf that signs something proves nothing.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}
