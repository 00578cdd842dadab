//! Certificates are exactly as promised, and nothing else passes for one.

use std::time::SystemTime;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::store::memory::MemoryStore;

fn store() -> Store {
    Store::from(MemoryStore::new())
}

fn request(params: CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn the_authority_survives_a_restart() {
    let store = store();
    let first = Authority::load(&store).await.unwrap();
    let second = Authority::load(&store).await.unwrap();
    assert_eq!(first.server_root(), second.server_root());
    assert_eq!(first.agent_root(), second.agent_root());
    assert_ne!(first.server_root(), first.agent_root());
    assert_eq!(first.trust_domain(), second.trust_domain());
    assert_eq!(first.task_public_key(), second.task_public_key());
    assert_eq!(first.task_public_key().len(), 32);
}

#[tokio::test]
async fn the_published_root_holds_no_key() {
    let authority = Authority::load(&store()).await.unwrap();
    assert!(authority.server_root_pem().contains("BEGIN CERTIFICATE"));
    assert!(!authority.server_root_pem().contains("PRIVATE"));
}

#[tokio::test]
async fn an_issued_certificate_ignores_the_names_of_the_request() {
    let authority = Authority::load(&store()).await.unwrap();
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI("spiffe://evil/agent/1".try_into().unwrap()));
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let agent = AgentId::new();
    let now = SystemTime::now();
    let issued = authority.issue_agent(agent, &request(params), now).unwrap();
    let identity = authority.identify(&issued.chain[0]).unwrap();
    assert_eq!(identity.agent_id, agent);

    let (_, parsed) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert!(!parsed.is_ca());
    let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 300, "24 h, backdated by 5 min");
}

#[tokio::test]
async fn a_request_with_a_broken_signature_is_refused() {
    let authority = Authority::load(&store()).await.unwrap();
    let mut csr = request(CertificateParams::default());
    let last = csr.len() - 1;
    csr[last] ^= 1;
    assert!(matches!(
        authority.issue_agent(AgentId::new(), &csr, SystemTime::now()),
        Err(Error::Request(_))
    ));
    csr[last] ^= 1;
    csr.push(0);
    assert!(matches!(
        authority.issue_agent(AgentId::new(), &csr, SystemTime::now()),
        Err(Error::Request(_))
    ));
    assert!(matches!(
        authority.issue_agent(AgentId::new(), b"no", SystemTime::now()),
        Err(Error::Request(_))
    ));
}

#[tokio::test]
async fn only_the_exact_identity_is_accepted() {
    let authority = Authority::load(&store()).await.unwrap();
    let domain = authority.trust_domain().to_owned();
    let id = AgentId::new();
    let good = format!("spiffe://{domain}/agent/{id}");
    let make = |uris: &[String], usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI(uri.as_str().try_into().unwrap()))
            .collect();
        params.extended_key_usages = usages.to_vec();
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    };
    let client = [ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(
        authority
            .identify(&make(std::slice::from_ref(&good), &client))
            .unwrap()
            .agent_id,
        id
    );

    for (uris, usages, expected) in [
        (vec![good.clone(), good.clone()], client.to_vec(), IdentityError::Names),
        (vec![], client.to_vec(), IdentityError::Names),
        (vec![format!("{good}/x")], client.to_vec(), IdentityError::NotAnAgent),
        (vec![format!("{good}?")], client.to_vec(), IdentityError::NotAnAgent),
        (
            vec![format!("spiffe://{domain}.evil/agent/{id}")],
            client.to_vec(),
            IdentityError::NotAnAgent,
        ),
        (
            vec![format!("spiffe://{domain}/user/{id}")],
            client.to_vec(),
            IdentityError::NotAnAgent,
        ),
        (vec![good.to_uppercase()], client.to_vec(), IdentityError::NotAnAgent),
        (vec![good.clone()], vec![], IdentityError::Purpose),
        (
            vec![good.clone()],
            vec![ExtendedKeyUsagePurpose::ServerAuth],
            IdentityError::Purpose,
        ),
        (
            vec![good.clone()],
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
            IdentityError::Purpose,
        ),
    ] {
        assert_eq!(
            authority.identify(&make(&uris, &usages)).unwrap_err(),
            expected,
            "{uris:?} {usages:?}"
        );
    }
    assert_eq!(authority.identify(b"junk").unwrap_err(), IdentityError::Malformed);
}

#[tokio::test]
async fn the_server_certificate_carries_its_root_and_its_names() {
    let authority = Authority::load(&store()).await.unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = authority.issue_server(&names, SystemTime::now()).unwrap();
    assert_eq!(made.chain.last(), Some(authority.server_root()));
    let (_, leaf) = X509Certificate::from_der(&made.chain[0]).unwrap();
    assert_eq!(
        leaf.subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .len(),
        3
    );
    assert_eq!(authority.identify(&made.chain[0]).unwrap_err(), IdentityError::Purpose);
}
