//! A change whose answer was lost has happened: what the cloud knows of its agents is what the store says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::pb;
use opslink_cloud::store::{
    Error, Result, Store,
    memory::{Faults, MemoryStore, Point},
    record::Role,
};
use pb::agent_service_client::AgentServiceClient;

use crate::harness::{Edge, with_bearer};

/// Loses every answer of a commit, while it is on.
#[derive(Default)]
struct Losing(AtomicBool);

#[async_trait]
impl Faults for Losing {
    async fn at(&self, point: Point) -> Result<()> {
        match point {
            Point::AfterCommit if self.0.load(Ordering::SeqCst) => Err(Error::Unavailable {
                message: "the answer was lost".to_owned(),
                reason: "DATABASE_UNAVAILABLE",
                maybe_done: true,
            }),
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_only_the_store_knows_can_be_removed() {
    let store = Store::from(MemoryStore::new());
    let edge = Edge::over(store.clone()).await;
    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let (request, _) = crate::harness::join_request(&id, &secret, "web");
    let mut joins = pb::enrollment_service_client::EnrollmentServiceClient::new(edge.plain().await);
    let joined = joins.join(request).await.expect("it has joined").into_inner();
    // As a database that went back to before a removal has it: there, and not known here.
    edge.cloud.directory.remove(joined.agent_id.parse().unwrap());
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let remove = |agent: &str| {
        with_bearer(
            pb::RemoveAgentRequest {
                agent: agent.to_owned(),
            },
            &admin,
        )
    };

    agents.remove_agent(remove("web")).await.expect("it is removed");
    assert!(store.agent_list().await.unwrap().is_empty());
    agents.remove_agent(remove("web")).await.expect_err("it is no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_joined_and_labels_that_were_set_are_known_although_nobody_heard_so() {
    let losing = Arc::new(Losing::default());
    let edge = Edge::over(Store::from(MemoryStore::with_faults(losing.clone()))).await;
    let (id, secret) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let (request, _) = crate::harness::join_request(&id, &secret, "web");
    let mut joins = pb::enrollment_service_client::EnrollmentServiceClient::new(edge.plain().await);
    let mut agents = AgentServiceClient::new(edge.plain().await);

    losing.0.store(true, Ordering::SeqCst);
    let joined = joins.join(request).await.expect("it has joined").into_inner();
    assert_eq!(joined.agent_name, "web");
    let labels = pb::SetAgentLabelsRequest {
        agent: "web".to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
    };
    let labelled = agents.set_agent_labels(with_bearer(labels, &admin)).await;
    losing.0.store(false, Ordering::SeqCst);

    labelled.expect("its labels are set");
    let known = edge.cloud.directory.find("web").expect("a known agent");
    assert_eq!(known.agent.labels["env"], "prod");
}
