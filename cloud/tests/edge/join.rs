//! T24 and T11 end to end: a join token works once; a removed agent never gets in again.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use opslink::pb;
use opslink_cloud::store::{
    Store,
    memory::MemoryStore,
    record::Role,
    sql::{Options, SqlStore},
};
use pb::{
    agent_service_client::AgentServiceClient, enrollment_service_client::EnrollmentServiceClient,
    link_service_client::LinkServiceClient, system_service_client::SystemServiceClient,
};
use tokio::time::timeout;

use crate::harness::{Edge, LIMIT, join_request, reason, with_bearer};

/// Joins 100 times at once with one token; returns how often each answer came.
async fn race(store: Store) -> (Edge, HashMap<String, u32>) {
    let edge = Edge::over(store).await;
    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let channel = edge.plain().await;
    // Of a stranger's connection few calls may wait; of one that has shown something, all.
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    AgentServiceClient::new(channel.clone())
        .list_agents(with_bearer(pb::ListAgentsRequest::default(), &viewer))
        .await
        .unwrap();
    let calls = (0..100).map(|n| {
        let mut client = EnrollmentServiceClient::new(channel.clone());
        let (request, _) = join_request(&id, &secret, &format!("racer-{n}"));
        async move { client.join(request).await }
    });
    let mut answers = HashMap::new();
    for answer in join_all(calls).await {
        let key = answer.map_or_else(|status| reason(&status), |_| "OK".to_owned());
        *answers.entry(key).or_default() += 1;
    }
    // The secret is nowhere in the audit log.
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut audit = pb::audit_service_client::AuditServiceClient::new(channel);
    let request = pb::ListAuditEventsRequest {
        page_size: 1000,
        ..Default::default()
    };
    let events = audit
        .list_audit_events(with_bearer(request, &admin))
        .await
        .unwrap()
        .into_inner()
        .events;
    assert!(!format!("{events:?}").contains(&secret));
    assert_eq!(events.iter().filter(|event| event.action == "agent.join").count(), 1);
    (edge, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_makes_no_second_token() {
    let edge = Edge::over(Store::from(MemoryStore::new())).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let request = |request_id: &str| {
        let request = pb::CreateJoinTokenRequest {
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        with_bearer(request, &admin)
    };
    let id = "0198c0de-0000-7000-8000-00000000000a";
    let made = agents.create_join_token(request(id)).await.unwrap().into_inner();
    let first = made.join_token.unwrap().id;
    let line = format!("echo {} | opslink-agent join ", made.token);
    assert!(made.command.starts_with(&line), "{}", made.command);
    assert!(made.command.ends_with(" --token-file -"), "{}", made.command);

    for again in [id, &id.to_uppercase()] {
        let refused = agents.create_join_token(request(again)).await.unwrap_err();
        assert_eq!(reason(&refused), "JOIN_TOKEN_MADE", "{refused:?}");
        assert!(refused.message().contains(&first), "{refused:?}");
    }
    let invalid = agents.create_join_token(request("again")).await.unwrap_err();
    assert_eq!(reason(&invalid), "INVALID_ARGUMENT");
    for _ in 0..2 {
        agents.create_join_token(request("")).await.unwrap();
    }
    let all = with_bearer(pb::ListJoinTokensRequest::default(), &admin);
    let listed = agents.list_join_tokens(all).await.unwrap().into_inner();
    assert_eq!(listed.join_tokens.len(), 3);
}

fn once() -> HashMap<String, u32> {
    HashMap::from([("OK".to_owned(), 1), ("JOIN_TOKEN_USED".to_owned(), 99)])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_joins_with_one_token_one_wins_in_memory() {
    let (edge, answers) = race(Store::from(MemoryStore::new())).await;
    assert_eq!(answers, once());
    assert_eq!(edge.cloud.directory.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_joins_with_one_token_one_wins_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().display());
    let (edge, answers) = race(SqlStore::open(&url, Options::default()).await.unwrap()).await;
    assert_eq!(answers, once());
    assert_eq!(edge.cloud.store.agent_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_wrong_token_gets_its_own_answer_and_a_bad_request_costs_none() {
    let edge = Edge::memory().await;
    let mut client = EnrollmentServiceClient::new(edge.plain().await);
    let mut said = async |id: &str, secret: &str, name: &str| {
        client
            .join(join_request(id, secret, name).0)
            .await
            .map_or_else(|status| reason(&status), |_| "OK".to_owned())
    };
    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let other = opslink::id::TokenId::new().to_string();
    assert_eq!(said("no-uuid", &secret, "a").await, "JOIN_TOKEN_UNKNOWN");
    assert_eq!(said(&other, &secret, "a").await, "JOIN_TOKEN_UNKNOWN");
    assert_eq!(said(&id, "wrong", "a").await, "JOIN_TOKEN_UNKNOWN");
    for name in ["", "UPPER", "sp ace", "-first", &"x".repeat(64)] {
        assert_eq!(said(&id, &secret, name).await, "AGENT_NAME_INVALID", "{name:?}");
    }
    assert_eq!(said(&id, &secret, "web-1").await, "OK");
    assert_eq!(said(&id, &secret, "web-2").await, "JOIN_TOKEN_USED");

    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    assert_eq!(said(&id, &secret, "web-1").await, "AGENT_NAME_TAKEN");
    assert_eq!(said(&id, &secret, "web-3").await, "OK", "a taken name costs no token");

    // The token's own name wins, whatever is proposed.
    let named = pb::CreateJoinTokenRequest {
        agent_name: "given".to_owned(),
        ..Default::default()
    };
    let (id, secret) = edge.join_token(named).await;
    assert_eq!(said(&id, &secret, "NOT A NAME").await, "OK");
    assert!(edge.cloud.directory.find("given").is_some());

    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    agents
        .revoke_join_token(with_bearer(pb::RevokeJoinTokenRequest { id: id.clone() }, &admin))
        .await
        .unwrap();
    assert_eq!(said(&id, &secret, "late").await, "JOIN_TOKEN_REVOKED");
}

#[tokio::test]
async fn a_removed_agent_loses_its_handshake_and_its_renewal() {
    let edge = Edge::memory().await;
    let identity = edge.join("goes").await;
    let channel = edge.encrypted(Some(&identity)).await.unwrap();
    let csr = || join_request("", "", "").0.csr_der;
    let mut link = LinkServiceClient::new(channel);
    let renewed = link
        .renew_certificate(pb::RenewCertificateRequest { csr_der: csr() })
        .await
        .unwrap()
        .into_inner();
    assert!(!renewed.certificate_chain_der.is_empty());

    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    agents
        .remove_agent(with_bearer(
            pb::RemoveAgentRequest {
                agent: "goes".to_owned(),
            },
            &admin,
        ))
        .await
        .unwrap();

    // On the connection that is still open …
    let refused = link
        .renew_certificate(pb::RenewCertificateRequest { csr_der: csr() })
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "CERTIFICATE_REVOKED");
    // … and on no new one, not even for calls that are open to everybody.
    let answer = timeout(LIMIT, async {
        let channel = edge
            .encrypted(Some(&identity))
            .await
            .map_err(|error| error.to_string())?;
        let mut system = SystemServiceClient::new(channel);
        system
            .get_system_info(pb::GetSystemInfoRequest {})
            .await
            .map_err(|status| status.to_string())
    });
    assert!(answer.await.unwrap().is_err());
    // The name is free again, the id is not.
    let next = edge.join("goes").await;
    assert_ne!(next.id, identity.id);
}

#[tokio::test]
async fn labels_of_the_server_are_checked_and_paged() {
    let edge = Edge::memory().await;
    for n in 0..5 {
        edge.join(&format!("web-{n}")).await;
    }
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let mut set = async |agent: &str, key: &str, value: &str| {
        let labels = HashMap::from([(key.to_owned(), value.to_owned())]);
        let request = pb::SetAgentLabelsRequest {
            agent: agent.to_owned(),
            labels,
        };
        let answer = agents.set_agent_labels(with_bearer(request, &admin)).await;
        answer.map_or_else(|status| reason(&status), |_| "OK".to_owned())
    };
    assert_eq!(set("web-1", "env", "prod").await, "OK");
    assert_eq!(set("web-1", "agent/os", "linux").await, "LABEL_INVALID");
    assert_eq!(set("web-1", "env", "a b").await, "LABEL_INVALID");
    assert_eq!(set("nobody", "env", "prod").await, "AGENT_NOT_FOUND");

    let mut agents = AgentServiceClient::new(edge.plain().await);
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListAgentsRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = agents
            .list_agents(with_bearer(request, &admin))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.total_size, 5);
        names.extend(page.agents.into_iter().map(|agent| agent.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
    let request = pb::ListAgentsRequest {
        filter: "env=prod".to_owned(),
        ..Default::default()
    };
    let found = agents
        .list_agents(with_bearer(request, &admin))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.agents.len(), 1);
    let request = pb::ListAgentsRequest {
        filter: "env=".to_owned() + "(",
        ..Default::default()
    };
    let refused = agents.list_agents(with_bearer(request, &admin)).await.unwrap_err();
    assert_eq!(reason(&refused), "SELECTOR_SYNTAX");
}
