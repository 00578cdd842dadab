//! Every stream ends soon after its caller may not see it any more: revoked, run out, logged out, role lowered, removed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::stream;
use opslink::pb;
use opslink_cloud::{authz::Rpc, store::record::Role};
use pb::{auth_service_client::AuthServiceClient, token_service_client::TokenServiceClient};
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_prost::ProstCodec;

use crate::harness::{Edge, LIMIT, PASSWORD, audit, reason, with_bearer};

/// What is promised.
const PROMISED: Duration = Duration::from_secs(5);

/// A watch of the agents: it never ends by itself.
async fn watch(channel: &Channel, secret: &str) -> Streaming<pb::WatchAgentsResponse> {
    let mut client = pb::agent_service_client::AgentServiceClient::new(channel.clone());
    let request = with_bearer(pb::WatchAgentsRequest {}, secret);
    let mut watch = client.watch_agents(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("a snapshot");
    watch
}

/// Waits for the end of a stream; says why it ended, and after how long.
async fn end<T>(stream: &mut Streaming<T>) -> (String, Duration) {
    let began = Instant::now();
    let ended = timeout(LIMIT, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::unknown("ended without a reason"),
                Err(status) => return status,
            }
        }
    });
    let status = ended.await.expect("the stream lives on");
    (reason(&status), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_revoked_or_runs_out() {
    let edge = Edge::memory().await;
    let channel = edge.plain().await;
    let (id, secret) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let (_, admin) = edge.token(Role::Admin, Duration::from_secs(600)).await;
    let mut revoked = watch(&channel, &secret).await;
    let mut other = watch(&channel, &admin).await;
    let (_, short) = edge.token(Role::Viewer, Duration::from_secs(3)).await;
    let mut short = watch(&channel, &short).await;
    let request = pb::RevokeTokenRequest { id: id.to_string() };
    TokenServiceClient::new(channel.clone())
        .revoke_token(with_bearer(request, &admin))
        .await
        .unwrap();
    let (why, after) = end(&mut revoked).await;
    assert_eq!(why, "TOKEN_REVOKED");
    assert!(
        after < Duration::from_secs(1),
        "at once on the cloud that revoked it: {after:?}"
    );
    let (why, after) = end(&mut short).await;
    assert_eq!(why, "TOKEN_EXPIRED");
    assert!(after < Duration::from_secs(3) + PROMISED, "{after:?}");
    // Whoever may still see it still sees it.
    assert!(timeout(Duration::from_millis(100), other.message()).await.is_err());
}

/// As another replica would: nobody tells this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_something_is_taken_away_elsewhere() {
    let edge = Edge::memory().await;
    let channel = edge.plain().await;
    let (id, secret) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let mut stream = watch(&channel, &secret).await;
    edge.cloud.store.token_revoke(id, audit()).await.unwrap();
    let (why, after) = end(&mut stream).await;
    assert_eq!(why, "TOKEN_REVOKED");
    assert!(after < PROMISED, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_the_logout_and_at_a_new_password() {
    let edge = Edge::memory().await;
    let channel = edge.plain().await;
    let mut auth = AuthServiceClient::new(channel.clone());
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let request = pb::LoginRequest {
            username: "admin".to_owned(),
            password: PASSWORD.to_owned(),
            use_cookie: false,
        };
        sessions.push(auth.login(request).await.unwrap().into_inner().session_token);
    }
    let mut streams = Vec::new();
    for session in &sessions {
        streams.push(watch(&channel, session).await);
    }
    auth.logout(with_bearer(pb::LogoutRequest {}, &sessions[0]))
        .await
        .unwrap();
    let (why, after) = end(&mut streams[0]).await;
    assert_eq!(why, "UNAUTHENTICATED");
    assert!(after < PROMISED, "{after:?}");
    let change = pb::ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: "another-long-one".to_owned(),
    };
    auth.change_password(with_bearer(change, &sessions[1])).await.unwrap();
    let (why, after) = end(&mut streams[2]).await;
    assert_eq!(why, "UNAUTHENTICATED");
    assert!(after < PROMISED, "{after:?}");
    let kept = timeout(Duration::from_millis(100), streams[1].message()).await;
    assert!(kept.is_err(), "the session that changed it stays");
}

/// The streams of the API; each of them is held, and this fails when one is added.
#[test]
fn these_are_all_streams() {
    let set = prost_types::FileDescriptorSet::decode(pb::DESCRIPTOR_SET).unwrap();
    let services = set
        .file
        .iter()
        .filter(|file| file.package() == "opslink.v1")
        .flat_map(|file| &file.service);
    let streams: BTreeSet<&str> = services
        .flat_map(|service| &service.method)
        .filter(|method| method.server_streaming())
        .map(|method| method.name())
        .collect();
    assert_eq!(
        streams.into_iter().collect::<Vec<_>>(),
        ["Attach", "ReadLog", "WatchAgents", "WatchTask"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_when_its_agent_is_removed_elsewhere_and_a_connection_has_one() {
    let edge = Edge::memory().await;
    let agent = edge.join("goes").await;
    let channel = edge.encrypted(Some(&agent)).await.unwrap();
    let attach = || async {
        let hello = pb::Hello {
            min_version: 1,
            max_version: 1,
            process_nonce: "one".to_owned(),
            ..Default::default()
        };
        let hello = pb::AttachRequest {
            frame: Some(pb::attach_request::Frame::Hello(hello)),
        };
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let frames = futures::StreamExt::chain(stream::iter([hello]), stream::pending());
        let codec = ProstCodec::<pb::AttachRequest, pb::AttachResponse>::default();
        let path = Rpc::Attach.path().parse().unwrap();
        grpc.streaming(Request::new(frames), path, codec).await
    };
    let mut link = attach().await.unwrap().into_inner();
    link.message().await.unwrap().expect("a welcome");
    let second = attach().await.unwrap_err();
    assert_eq!(
        (second.code(), reason(&second).as_str()),
        (Code::InvalidArgument, "FRAME_UNEXPECTED")
    );
    // The directory learns of it as it would from another replica; nobody closes the link here.
    edge.cloud.directory.remove(agent.id);
    let (why, after) = end(&mut link).await;
    assert_eq!(why, "CERTIFICATE_REVOKED");
    assert!(after < PROMISED, "{after:?}");
}
