//! T16: every principal against every RPC, over real gRPC. Each cell has exactly one expected answer.

use std::time::Duration;

use futures::stream;
use http::uri::PathAndQuery;
use opslink::{pb, time::UnixMicros};
use opslink_cloud::{
    authz::{Principal, Rpc},
    store::record::Role,
};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_prost::ProstCodec;

use crate::harness::{Edge, LIMIT, audit, reason, with_bearer};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anonymous,
    Stranger,
    Viewer,
    Operator,
    Admin,
    MustChangePassword,
    Expired,
    Revoked,
    Agent,
    RemovedAgent,
}

/// What the gate says; `None` lets the call through to its handler.
fn expected(who: Who, needed: Principal) -> Option<&'static str> {
    use Principal as P;
    match (who, needed) {
        (_, P::Anyone) | (Who::Agent, P::Agent) => None,
        (Who::RemovedAgent, P::Agent) => Some("CERTIFICATE_REVOKED"),
        (_, P::Agent) => Some("CERTIFICATE_REQUIRED"),
        // An agent's certificate is no login.
        (Who::Anonymous | Who::Stranger | Who::Agent | Who::RemovedAgent, _) => Some("UNAUTHENTICATED"),
        (Who::Expired, _) => Some("TOKEN_EXPIRED"),
        (Who::Revoked, _) => Some("TOKEN_REVOKED"),
        (Who::MustChangePassword, P::Session) => None,
        (Who::MustChangePassword, _) => Some("PASSWORD_CHANGE_REQUIRED"),
        (Who::Viewer, P::Session | P::Viewer) => None,
        (Who::Operator, P::Session | P::Viewer | P::Operator) => None,
        (Who::Admin, _) => None,
        (Who::Viewer | Who::Operator, _) => Some("PERMISSION_DENIED"),
    }
}

/// Everything that only a gate says.
const REFUSALS: [&str; 9] = [
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "PASSWORD_CHANGE_REQUIRED",
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_INVALID",
    "TOKEN_EXPIRED",
    "TOKEN_REVOKED",
    "SESSION_EXPIRED",
];

/// Calls with one empty message, whatever kind of RPC it is, and waits for the first answer.
async fn call(channel: &Channel, path: &str, secret: Option<&str>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(stream::iter([()]));
    if let Some(secret) = secret {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {secret}").parse().unwrap());
    }
    let path: PathAndQuery = path.parse().unwrap();
    let mut answers = grpc
        .streaming(request, path, ProstCodec::<(), ()>::default())
        .await?
        .into_inner();
    answers.message().await.map(drop)
}

#[tokio::test]
async fn every_principal_gets_exactly_what_the_table_says() {
    let edge = Edge::memory().await;
    let hour = Duration::from_secs(3600);
    let (_, viewer) = edge.token(Role::Viewer, hour).await;
    let (_, operator) = edge.token(Role::Operator, hour).await;
    let (_, admin) = edge.token(Role::Admin, hour).await;
    let (_, expired) = edge.token(Role::Admin, Duration::ZERO).await;
    let (revoked_id, revoked) = edge.token(Role::Admin, hour).await;
    edge.cloud.store.token_revoke(revoked_id, audit()).await.unwrap();
    let must_change = must_change_session(&edge).await;

    let plain = edge.plain().await;
    let agent = edge.encrypted(Some(&edge.join("stays").await)).await.unwrap();
    // Removed while its connection is open: the handshake is behind it, so the gate must say no.
    let leaving = edge.join("goes").await;
    let removed = edge.encrypted(Some(&leaving)).await.unwrap();
    call(&removed, &Rpc::GetSystemInfo.path(), None).await.unwrap();
    edge.cloud.store.agent_remove(leaving.id, audit()).await.unwrap();

    let principals: [(Who, &Channel, Option<&str>); 10] = [
        (Who::Anonymous, &plain, None),
        (Who::Stranger, &plain, Some("olp_nobody")),
        (Who::Viewer, &plain, Some(&viewer)),
        (Who::Operator, &plain, Some(&operator)),
        (Who::Admin, &plain, Some(&admin)),
        (Who::MustChangePassword, &plain, Some(&must_change)),
        (Who::Expired, &plain, Some(&expired)),
        (Who::Revoked, &plain, Some(&revoked)),
        (Who::Agent, &agent, None),
        (Who::RemovedAgent, &removed, None),
    ];
    let mut cells = 0;
    for (who, channel, secret) in principals {
        // Logging out last: it ends the session that the other cells need.
        let (last, rest): (Vec<Rpc>, Vec<Rpc>) = Rpc::ALL.iter().partition(|rpc| **rpc == Rpc::Logout);
        for rpc in rest.into_iter().chain(last) {
            let answer = timeout(LIMIT, call(channel, &rpc.path(), secret))
                .await
                .expect("an answer in time");
            let said = answer.as_ref().err().map(reason);
            let refusal = said.as_deref().filter(|said| REFUSALS.contains(said));
            assert_eq!(refusal, expected(who, rpc.requires()), "{who:?} {rpc:?}: {answer:?}");
            if let Err(status) = &answer {
                // Never a crash, never a status without a reason.
                assert_ne!(said.as_deref(), Some("none"), "{who:?} {rpc:?}: {status:?}");
                assert_ne!(status.code(), Code::Internal, "{who:?} {rpc:?}: {status:?}");
            }
            cells += 1;
        }
    }
    assert_eq!(cells, 10 * Rpc::ALL.len());
}

/// A session of a user who must change the password first.
async fn must_change_session(edge: &Edge) -> String {
    use opslink_cloud::{
        identity::secret,
        store::record::{Session, User},
    };
    let user = User {
        id: opslink::id::UserId::new(),
        name: "fresh".to_owned(),
        password_hash: String::new(),
        role: Role::Admin,
        must_change_password: true,
    };
    let text = secret::with_prefix(secret::SESSION_PREFIX).unwrap();
    let now = UnixMicros::now();
    let session = Session {
        secret_hash: secret::hash(&text).to_vec(),
        user_id: user.id,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
    };
    let hash = user.password_hash.clone();
    edge.cloud.store.user_insert(user, audit()).await.unwrap();
    assert!(edge.cloud.store.session_insert(session, hash, audit()).await.unwrap());
    text
}

#[tokio::test]
async fn odd_paths_never_pass_the_gate() {
    let edge = Edge::memory().await;
    let channel = edge.plain().await;
    for path in [
        "//opslink.v1.TaskService/CreateTask",
        "/opslink.v1.TaskService//CreateTask",
        "/opslink.v1.TaskService/CreateTask/",
        "/opslink.v1.TaskService/CreateTask?x=1",
        "/opslink.v1.TaskService/createtask",
        "/opslink.v1.TaskService/%43reateTask",
        "/OPSLINK.v1.TaskService/CreateTask",
        "/opslink.v1.TaskService/../TaskService/CreateTask",
        "/./opslink.v1.TaskService/CreateTask",
    ] {
        let status = timeout(LIMIT, call(&channel, path, None))
            .await
            .unwrap()
            .expect_err(path);
        assert!(
            matches!(status.code(), Code::Unimplemented | Code::Unauthenticated),
            "{path}: {status:?}"
        );
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let edge = Edge::memory().await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(3600)).await;
    let (victim_id, victim) = edge.token(Role::Viewer, Duration::from_secs(3600)).await;
    let mut tokens = pb::token_service_client::TokenServiceClient::new(edge.plain().await);
    let mut agents = pb::agent_service_client::AgentServiceClient::new(edge.plain().await);
    // Twice, so that the second answer comes from the cache.
    for _ in 0..2 {
        agents
            .list_agents(with_bearer(pb::ListAgentsRequest::default(), &victim))
            .await
            .unwrap();
    }
    let revoke = pb::RevokeTokenRequest {
        id: victim_id.to_string(),
    };
    tokens.revoke_token(with_bearer(revoke, &admin)).await.unwrap();
    let refused = agents
        .list_agents(with_bearer(pb::ListAgentsRequest::default(), &victim))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "TOKEN_REVOKED");
}
