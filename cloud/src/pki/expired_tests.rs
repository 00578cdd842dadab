//! An expired certificate is worth its next one to whoever holds its key, for a while; everything else is refused.

use opslink::id::AgentId;
use rcgen::{CertificateParams, KeyPair, SigningKey};

use super::*;
use crate::{
    pki::{AgentCertificates, Authority, BACKDATE},
    store::{Store, memory::MemoryStore},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const CHANNEL: ChannelBinding = ChannelBinding([3; 32]);

/// An agent that got its certificate at a fixed time, and asks for the next one.
struct Shown {
    agent: AgentId,
    certificate: Vec<u8>,
    csr: Vec<u8>,
    signature: Vec<u8>,
}

impl Shown {
    fn check(&self, authority: &Authority, now: SystemTime) -> Result<AgentIdentity, Refusal> {
        self.check_on(authority, &CHANNEL, now)
    }

    fn check_on(
        &self,
        authority: &Authority,
        channel: &ChannelBinding,
        now: SystemTime,
    ) -> Result<AgentIdentity, Refusal> {
        let proof = Proof {
            certificate: &self.certificate,
            csr: &self.csr,
            signature: &self.signature,
            channel,
        };
        authority.check_expired(&proof, now)
    }
}

fn issued_at() -> SystemTime {
    SystemTime::now()
}

async fn authority() -> Authority {
    let store: Store = Store::from(MemoryStore::new());
    Authority::load(&store).await.unwrap()
}

fn show(authority: &Authority, key: &KeyPair, at: SystemTime) -> Shown {
    let agent = AgentId::new();
    let csr = |key: &KeyPair| {
        CertificateParams::default()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec()
    };
    let certificate = authority.issue_agent(agent, &csr(key), at).unwrap().chain[0].to_vec();
    let csr = csr(&KeyPair::generate().unwrap());
    let signature = key.sign(&signing_input(&CHANNEL, &csr)).unwrap();
    Shown {
        agent,
        certificate,
        csr,
        signature,
    }
}

#[tokio::test]
async fn the_key_of_an_expired_certificate_names_its_agent_until_the_window_is_over() {
    let authority = authority().await;
    let at = issued_at();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let shown = show(&authority, &key, at);
        for age in [HOUR, DAY + HOUR, DAY * 3, DAY * 31 - HOUR] {
            let identity = shown.check(&authority, at + age).unwrap();
            assert_eq!(identity.agent_id, shown.agent, "{age:?}");
        }
        let late = shown.check(&authority, at + DAY * 31 + HOUR).unwrap_err();
        assert!(matches!(late, Refusal::TooLate { .. }), "{late}");
    }
}

#[tokio::test]
async fn the_window_is_a_setting_and_zero_closes_it() {
    let with = async |window| {
        authority().await.with_terms(AgentCertificates {
            window,
            ..AgentCertificates::default()
        })
    };
    let at = issued_at();
    let key = KeyPair::generate().unwrap();
    for (window, age, good) in [
        (Duration::ZERO, DAY - HOUR, true),
        (Duration::ZERO, DAY + HOUR, false),
        (HOUR * 2, DAY + HOUR, true),
        (HOUR * 2, DAY + HOUR * 3, false),
        (Duration::MAX, DAY * 4000, true),
    ] {
        let authority = with(window).await;
        let shown = show(&authority, &key, at);
        assert_eq!(shown.check(&authority, at + age).is_ok(), good, "{window:?} {age:?}");
    }
}

#[tokio::test]
async fn a_proof_is_good_for_its_connection_its_request_and_its_key_only() {
    let authority = authority().await;
    let at = issued_at();
    let now = at + DAY * 2;
    let key = KeyPair::generate().unwrap();
    let good = || show(&authority, &key, at);
    assert!(good().check(&authority, now).is_ok());

    let elsewhere = good().check_on(&authority, &ChannelBinding([4; 32]), now);
    assert_eq!(elsewhere, Err(Refusal::Unproven), "another connection: a replay");

    let mut other_request = good();
    other_request.csr.push(0);
    assert_eq!(other_request.check(&authority, now), Err(Refusal::Unproven));

    let mut other_key = good();
    let thief = KeyPair::generate().unwrap();
    other_key.signature = thief.sign(&signing_input(&CHANNEL, &other_key.csr)).unwrap();
    assert_eq!(other_key.check(&authority, now), Err(Refusal::Unproven));

    let mut bare = good();
    bare.signature.clear();
    assert_eq!(bare.check(&authority, now), Err(Refusal::Unproven));

    let mut other_domain = good();
    other_domain.signature = key.sign(&[&CHANNEL.0[..], &other_domain.csr].concat()).unwrap();
    assert_eq!(other_domain.check(&authority, now), Err(Refusal::Unproven));
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused_before_its_key_is_looked_at() {
    let (ours, theirs) = (authority().await, authority().await);
    let at = issued_at();
    let key = KeyPair::generate().unwrap();
    let foreign = show(&theirs, &key, at);
    assert_eq!(foreign.check(&ours, at + DAY * 2), Err(Refusal::Chain));

    // Right names, and signed by nobody.
    let own_word = {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://{}/agent/{}", ours.trust_domain(), AgentId::new());
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let mut shown = show(&ours, &key, at);
    shown.certificate = own_word;
    assert_eq!(shown.check(&ours, at + DAY * 2), Err(Refusal::Chain));

    // The cloud's own certificate is no agent's.
    shown.certificate = ours.issue_server(&["localhost".to_owned()], at).unwrap().chain[0].to_vec();
    assert_eq!(shown.check(&ours, at + DAY * 2), Err(Refusal::Chain));

    for junk in [Vec::new(), b"junk".to_vec(), vec![0x30; MAX_CERTIFICATE_BYTES + 1]] {
        shown.certificate = junk;
        let refusal = shown.check(&ours, at + DAY * 2).unwrap_err();
        assert_eq!(refusal, Refusal::Identity(IdentityError::Malformed));
    }
}

#[tokio::test]
async fn a_changed_certificate_is_refused() {
    let authority = authority().await;
    let at = issued_at();
    let key = KeyPair::generate().unwrap();
    let whole = show(&authority, &key, at);
    for byte in 0..whole.certificate.len() {
        let mut shown = show(&authority, &key, at);
        shown.certificate = whole.certificate.clone();
        shown.certificate[byte] ^= 1;
        assert!(shown.check(&authority, at + DAY * 2).is_err(), "byte {byte}");
    }
}

#[tokio::test]
async fn a_certificate_from_the_future_is_a_matter_of_clocks() {
    let authority = authority().await;
    let at = issued_at();
    let key = KeyPair::generate().unwrap();
    let shown = show(&authority, &key, at);
    let refusal = shown.check(&authority, at - BACKDATE - HOUR).unwrap_err();
    assert!(matches!(refusal, Refusal::NotYetValid { .. }), "{refusal}");
}
