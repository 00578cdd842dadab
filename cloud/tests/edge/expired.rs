//! T27 over real sockets: an agent whose certificate has expired proves its key and gets the next one; nobody else does.

use std::time::{Duration, SystemTime};

use opslink::{pb, renewal::signing_input, time::UnixMicros};
use opslink_cloud::store::record::Role;
use pb::{
    agent_service_client::AgentServiceClient, enrollment_service_client::EnrollmentServiceClient,
    system_service_client::SystemServiceClient,
};
use rcgen::{KeyPair, SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tonic::transport::Channel;

use crate::harness::{Edge, Identity, audit, join_request, reason, with_bearer};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An agent that has not asked for a certificate for so long.
async fn away_for(edge: &Edge, name: &str, time: Duration) -> Identity {
    let joined = edge.join(name).await;
    let (request, key) = join_request("", "", "");
    let issued = edge
        .cloud
        .authority
        .issue_agent(joined.id, &request.csr_der, SystemTime::now() - time)
        .unwrap();
    Identity {
        id: joined.id,
        chain: issued.chain,
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// What the agent sends on a connection with this binding; and the key of the next certificate.
fn proof(identity: &Identity, binding: &opslink::renewal::ChannelBinding) -> (pb::RenewExpiredRequest, KeyPair) {
    let (request, next_key) = join_request("", "", "");
    let key = KeyPair::try_from(identity.key.secret_der()).unwrap();
    let signature = key.sign(&signing_input(binding, &request.csr_der)).unwrap();
    let request = pb::RenewExpiredRequest {
        certificate_der: identity.chain[0].to_vec().into(),
        csr_der: request.csr_der,
        signature: signature.into(),
    };
    (request, next_key)
}

async fn ask(channel: Channel, request: pb::RenewExpiredRequest) -> Result<pb::RenewExpiredResponse, String> {
    let answer = EnrollmentServiceClient::new(channel).renew_expired(request).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| reason(&status))
}

/// Asks on a connection of its own.
async fn come_back(edge: &Edge, identity: &Identity) -> Result<pb::RenewExpiredResponse, String> {
    let (channel, binding) = edge.bound(None).await.unwrap();
    ask(channel, proof(identity, &binding).0).await
}

async fn handshake_works(edge: &Edge, identity: &Identity) -> bool {
    let Ok(channel) = edge.encrypted(Some(identity)).await else {
        return false;
    };
    let mut client = SystemServiceClient::new(channel);
    client.get_system_info(pb::GetSystemInfoRequest {}).await.is_ok()
}

#[tokio::test]
async fn an_agent_that_was_away_for_a_weekend_gets_in_again_and_a_row_says_so() {
    let edge = Edge::memory().await;
    let identity = away_for(&edge, "site", DAY * 3).await;
    assert!(!handshake_works(&edge, &identity).await, "expired is expired");
    let (channel, binding) = edge.bound(None).await.unwrap();
    let (request, key) = proof(&identity, &binding);
    let answer = ask(channel, request).await.unwrap();
    let next = Identity {
        id: identity.id,
        chain: answer
            .certificate_chain_der
            .iter()
            .map(|der| der.to_vec().into())
            .collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    };
    let named = edge.cloud.authority.identify(&next.chain[0]).unwrap();
    assert_eq!(named.agent_id, identity.id, "the same agent");
    assert!(handshake_works(&edge, &next).await);
    let rows = edge.cloud.store.audit_list(None, 10).await.unwrap();
    let row = rows.iter().find(|row| row.action == "agent.renew_expired").unwrap();
    assert_eq!(row.resource, format!("agent/{}", identity.id));
    assert!(row.detail.contains("expired at 2"), "{}", row.detail);
}

#[tokio::test]
async fn a_proof_cannot_be_used_again_elsewhere_nor_without_tls() {
    let edge = Edge::memory().await;
    let identity = away_for(&edge, "site", DAY * 3).await;
    let (channel, binding) = edge.bound(None).await.unwrap();
    let (request, _) = proof(&identity, &binding);
    assert!(ask(channel, request.clone()).await.is_ok());
    let (other, _) = edge.bound(None).await.unwrap();
    assert_eq!(ask(other, request.clone()).await, Err("RENEWAL_PROOF_INVALID".into()));
    assert_eq!(
        ask(edge.plain().await, request).await,
        Err("RENEWAL_PROOF_INVALID".into())
    );
}

#[tokio::test]
async fn who_was_away_for_too_long_or_was_removed_or_is_an_old_copy_stays_out() {
    let edge = Edge::memory().await;
    let late = away_for(&edge, "late", DAY * 32).await;
    assert_eq!(come_back(&edge, &late).await, Err("RENEWAL_WINDOW_PASSED".into()));

    let removed = away_for(&edge, "removed", DAY * 3).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let request = pb::RemoveAgentRequest {
        agent: "removed".to_owned(),
    };
    let mut agents = AgentServiceClient::new(edge.plain().await);
    agents.remove_agent(with_bearer(request, &admin)).await.unwrap();
    assert_eq!(come_back(&edge, &removed).await, Err("CERTIFICATE_REVOKED".into()));

    // In use today, so with another certificate than the one that ended two days ago.
    let copied = away_for(&edge, "copied", DAY * 3).await;
    edge.cloud.directory.set_seen(copied.id, UnixMicros::now());
    assert_eq!(come_back(&edge, &copied).await, Err("CERTIFICATE_SUPERSEDED".into()));

    let early = away_for(&edge, "early", Duration::ZERO).await;
    let ahead = {
        let (request, key) = join_request("", "", "");
        let issued = edge
            .cloud
            .authority
            .issue_agent(early.id, &request.csr_der, SystemTime::now() + DAY);
        Identity {
            id: early.id,
            chain: issued.unwrap().chain,
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    };
    assert_eq!(come_back(&edge, &ahead).await, Err("CLOCK_WRONG".into()));
    let rows = edge.cloud.store.audit_list(None, 100).await.unwrap();
    assert!(
        rows.iter().all(|row| row.action != "agent.renew_expired"),
        "no certificate, no row"
    );
}

#[tokio::test]
async fn a_bad_request_for_the_next_certificate_is_refused() {
    let edge = Edge::memory().await;
    let identity = away_for(&edge, "site", DAY * 3).await;
    let (channel, binding) = edge.bound(None).await.unwrap();
    let key = KeyPair::try_from(identity.key.secret_der()).unwrap();
    let request = pb::RenewExpiredRequest {
        certificate_der: identity.chain[0].to_vec().into(),
        csr_der: b"no request".as_slice().into(),
        signature: key.sign(&signing_input(&binding, b"no request")).unwrap().into(),
    };
    assert_eq!(ask(channel, request).await, Err("CSR_INVALID".into()));
}

#[tokio::test]
async fn one_agent_and_one_address_get_so_many_and_no_more() {
    let edge = Edge::memory().await;
    let identity = away_for(&edge, "greedy", DAY * 3).await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(come_back(&edge, &identity).await.map(drop));
    }
    assert!(answers[..5].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(answers[5], Err("OVERLOADED".into()));

    let (channel, _) = edge.bound(None).await.unwrap();
    // Of a stranger's connection most would be refused without being looked at.
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let list = with_bearer(pb::ListAgentsRequest::default(), &viewer);
    AgentServiceClient::new(channel.clone())
        .list_agents(list)
        .await
        .unwrap();
    // All at once: on a slow machine, one after the other would be within the limit.
    let asked = (0..1_000).map(|_| ask(channel.clone(), pb::RenewExpiredRequest::default()));
    let refused: Vec<String> = futures::future::join_all(asked)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    assert!(refused.iter().any(|reason| reason == "RENEWAL_PROOF_INVALID"));
    assert!(refused.iter().any(|reason| reason == "OVERLOADED"));
}

#[tokio::test]
async fn without_its_audit_row_no_certificate_is_given() {
    let edge = Edge::memory().await;
    edge.cloud.store.audit_insert(audit()).await.unwrap();
    let identity = away_for(&edge, "site", DAY * 3).await;
    let before = edge.cloud.store.audit_list(None, 100).await.unwrap().len();
    come_back(&edge, &identity).await.unwrap();
    let after = edge.cloud.store.audit_list(None, 100).await.unwrap().len();
    assert_eq!(after, before + 1);
}
