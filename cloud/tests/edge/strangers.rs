//! Nobody without credentials costs anything: bodies that are never read, limits of size, refusals that are counted.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http_body_util::{Full, StreamBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opslink::pb;
use opslink_cloud::{authz::Rpc, store::record::Role};
use pb::{agent_service_client::AgentServiceClient, auth_service_client::AuthServiceClient};
use tokio::{net::TcpStream, time::timeout};
use tonic::Status;
use tonic_types::StatusExt;

use crate::harness::{Edge, LIMIT, join_request, reason, with_bearer};

/// A body that has begun a message of 2 MiB and never goes on.
fn unfinished() -> impl http_body::Body<Data = Bytes, Error = Infallible> {
    let mut begun = vec![0u8];
    begun.extend((2u32 << 20).to_be_bytes());
    begun.extend(vec![b'x'; 8 << 10]);
    let begun = stream::iter([Ok(http_body::Frame::data(Bytes::from(begun)))]);
    StreamBody::new(begun.chain(stream::pending()))
}

/// Calls on a connection of its own, with bodies that never end; returns what was answered at their headers.
async fn call_without_end(edge: &Edge, path: &str, calls: usize) -> Vec<String> {
    let io = TokioIo::new(TcpStream::connect(edge.plain_addr).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let answers = (0..calls).map(|_| {
        let mut sender = sender.clone();
        let request = http::Request::post(format!("http://{}{path}", edge.plain_addr))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Box::pin(unfinished()))
            .unwrap();
        async move {
            let answer = sender.send_request(request).await.unwrap();
            reason(&Status::from_header_map(answer.headers()).expect("an answer in the headers"))
        }
    });
    join_all(answers).await
}

/// G1: three connections with 250 unfinished bodies each took 1.3 GB for half an hour.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_of_a_stranger_is_read_where_a_login_is_needed() {
    let edge = Edge::memory().await;
    let connections = (0..3).map(|_| call_without_end(&edge, "/opslink.v1.TaskService/CreateTask", 250));
    let answers = timeout(LIMIT, join_all(connections))
        .await
        .expect("answers without the bodies");
    let answers: Vec<String> = answers.into_iter().flatten().collect();
    assert_eq!(answers.len(), 750);
    assert!(answers.iter().all(|reason| reason == "UNAUTHENTICATED"));
    let answers = call_without_end(&edge, "/opslink.v1.LinkService/Attach", 3).await;
    assert!(answers.iter().all(|reason| reason == "CERTIFICATE_REQUIRED"));
}

/// A connection whose answers have this much room each, for calls that are whole at once.
async fn connect(edge: &Edge, window: u32) -> SendRequest<Full<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(edge.plain_addr).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.initial_stream_window_size(window).handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(edge: &Edge, path: &str, filler: usize, message: &'static [u8]) -> http::Request<Full<Bytes>> {
    http::Request::post(format!("http://{}{path}", edge.plain_addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-filler", "x".repeat(filler))
        .body(Full::new(Bytes::from_static(message)))
        .unwrap()
}

/// A3: no flow control holds headers back, so they are small.
#[tokio::test(flavor = "multi_thread")]
async fn large_headers_are_refused_and_those_of_a_browser_are_not() {
    let edge = Edge::memory().await;
    let path = "/opslink.v1.SystemService/GetSystemInfo";
    let answer = async |filler: usize| {
        let mut sender = connect(&edge, 65_535).await;
        let answer = sender.send_request(call(&edge, path, filler, &[0; 5]));
        timeout(LIMIT, answer).await.expect("an answer")
    };
    // Refused by HTTP/2 itself: by a status, or by the reset that follows it.
    let refused = answer(28 << 10).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431);
    assert_eq!(answer(4 << 10).await.unwrap().status(), 200);
}

/// A question of reflection.
const WHICH_SERVICES: &[u8] = &[0, 0, 0, 0, 2, 0x3a, 0];

/// A6: an answer that is not taken keeps its call's turn, so that of a stranger's answers four wait and not a hundred.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_takes_no_answer_has_four() {
    let edge = Edge::memory().await;
    let sender = connect(&edge, 0).await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let answers = (0..20).map(|_| {
        let (mut sender, request) = (sender.clone(), call(&edge, path, 0, WHICH_SERVICES));
        async move { timeout(LIMIT, sender.send_request(request)).await.expect("an answer") }
    });
    let answers: Vec<_> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
    let refused = answers
        .iter()
        .filter_map(|answer| Status::from_header_map(answer.headers()));
    let refused: Vec<String> = refused.map(|status| reason(&status)).collect();
    assert!(refused.iter().all(|reason| reason == "OVERLOADED"), "{refused:?}");
    assert_eq!(answers.len() - refused.len(), 4);
}

/// R7: four of each of a hundred and ninety connections had several answers of 45 KB on their way.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_sixteen_conversations_of_reflection_together() {
    let edge = Edge::memory().await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut sender = connect(&edge, 0).await;
        for _ in 0..4 {
            let answer = sender.send_request(call(&edge, path, 0, WHICH_SERVICES));
            let answer = timeout(LIMIT, answer).await.expect("an answer").unwrap();
            open.push((answer, sender.clone()));
        }
    }
    let refused = open
        .iter()
        .filter_map(|(answer, _)| Status::from_header_map(answer.headers()));
    assert_eq!(open.len() - refused.count(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_may_send_is_small_and_says_so() {
    let edge = Edge::memory().await;
    let large = pb::LoginRequest {
        username: "x".repeat(20_000),
        ..Default::default()
    };
    let refused = AuthServiceClient::new(edge.plain().await)
        .login(large)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "MESSAGE_TOO_LARGE", "{refused:?}");
}

/// A login that has begun and does not go on holds its memory for ten seconds, and four of a connection at most.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_given_up() {
    let edge = Edge::memory().await;
    let begun = || {
        let mut begun = vec![0u8];
        begun.extend(100u32.to_be_bytes());
        let begun = stream::iter([Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(begun)))]);
        StreamBody::new(begun.chain(stream::pending()))
    };
    let io = TokioIo::new(TcpStream::connect(edge.plain_addr).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/opslink.v1.AuthService/Login", edge.plain_addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Box::pin(begun()))
        .unwrap();
    let began = Instant::now();
    let answer = timeout(LIMIT, sender.send_request(request))
        .await
        .expect("an end")
        .unwrap();
    let status = Status::from_header_map(answer.headers()).expect("an answer in the headers");
    assert_eq!(reason(&status), "BODY_TOO_SLOW", "{status:?}");
    assert!(began.elapsed() >= Duration::from_secs(9));
}

async fn audit_rows(edge: &Edge, action: &str) -> Vec<String> {
    let rows = edge.cloud.store.audit_list(None, 1_000).await.unwrap();
    let rows = rows.into_iter().filter(|row| row.action == action);
    rows.map(|row| format!("{} {} {}", row.actor, row.resource, row.detail))
        .collect()
}

/// Waits until the audit log has a row like this.
async fn wait_for_row(edge: &Edge, action: &str, words: &str) -> Vec<String> {
    timeout(LIMIT, async {
        loop {
            let rows = audit_rows(edge, action).await;
            if rows.iter().any(|row| row.contains(words)) {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no row of {action} with {words}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_leave_one_row_of_a_kind_and_not_one_each() {
    let edge = Edge::memory().await;
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let channel = edge.plain().await;
    for _ in 0..100 {
        let mut agents = AgentServiceClient::new(channel.clone());
        let list = agents.list_agents(pb::ListAgentsRequest::default()).await.unwrap_err();
        assert_eq!(reason(&list), "UNAUTHENTICATED");
        let request = with_bearer(pb::RemoveAgentRequest::default(), &viewer);
        assert_eq!(
            reason(&agents.remove_agent(request).await.unwrap_err()),
            "PERMISSION_DENIED"
        );
    }
    wait_for_row(&edge, "auth.denied", "anonymous rpc/ListAgents UNAUTHENTICATED").await;
    let rows = wait_for_row(&edge, "auth.denied", "rpc/RemoveAgent PERMISSION_DENIED").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter().any(|row| row.starts_with("token:Viewer")),
        "who it was: {rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_join_is_kept_and_tells_nothing_about_tokens() {
    let edge = Edge::memory().await;
    let (known, _) = edge.join_token(pb::CreateJoinTokenRequest::default()).await;
    let mut client = pb::enrollment_service_client::EnrollmentServiceClient::new(edge.plain().await);
    let unknown = opslink::id::TokenId::new().to_string();
    // A bad name beside a wrong secret: known and unknown ids answer alike.
    for id in [&known, &unknown] {
        let refused = client
            .join(join_request(id, "wrong", "NOT A NAME").0)
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), "JOIN_TOKEN_UNKNOWN");
    }
    wait_for_row(
        &edge,
        "agent.join_refused",
        &format!("join_token/{known} JOIN_TOKEN_UNKNOWN"),
    )
    .await;
    let mut last = String::new();
    for _ in 0..400 {
        last = reason(&client.join(join_request(&unknown, "wrong", "a").0).await.unwrap_err());
        if last == "TOO_MANY_ATTEMPTS" {
            break;
        }
    }
    assert_eq!(last, "TOO_MANY_ATTEMPTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_gets_in_while_others_guess() {
    let edge = Edge::memory().await;
    let accounts = &edge.cloud.accounts;
    // From five addresses, until each of them is told to wait.
    for host in 2..7 {
        let peer = format!("10.0.0.{host}:1");
        let mut refused = None;
        for _ in 0..20 {
            refused = accounts.login("admin", "wrong".to_owned(), &peer).await.err();
        }
        let reason = refused.expect("wrong is wrong").reason;
        assert_eq!(reason, opslink::reason::Reason::TooManyAttempts);
    }
    for _ in 0..32 {
        let right = crate::harness::PASSWORD.to_owned();
        accounts
            .login("admin", right, "10.0.0.1:1")
            .await
            .expect("the right password");
    }
}

/// R6: ten such refusals were ten tries, and kept whoever was right out for five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_turn_has_not_tried() {
    let edge = Edge::memory().await;
    let login = |password: &str| edge.cloud.accounts.login("admin", password.to_owned(), "10.0.0.1:1");
    let refused = join_all((0..20).map(|_| login("wrong"))).await;
    let reasons = refused
        .into_iter()
        .map(|refused| refused.expect_err("wrong is wrong").reason);
    let busy = reasons
        .filter(|reason| *reason == opslink::reason::Reason::Overloaded)
        .count();
    assert_eq!(busy, 12, "eight of one address are in line");
    login(crate::harness::PASSWORD).await.expect("the right password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_nul_is_a_name_that_nobody_has() {
    let edge = Edge::memory().await;
    let refused = edge
        .cloud
        .accounts
        .login("ad\0min", "wrong".to_owned(), "10.0.0.1:1")
        .await
        .unwrap_err();
    assert_eq!(refused.reason, opslink::reason::Reason::WrongCredentials);
    wait_for_row(&edge, "auth.login_refused", "admin user/admin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_nothing_that_outlives_it() {
    let edge = Edge::memory().await;
    let (_, short) = edge.token(Role::Admin, Duration::from_secs(60)).await;
    let mut tokens = pb::token_service_client::TokenServiceClient::new(edge.plain().await);
    let request = |ttl_secs| {
        let request = pb::CreateTokenRequest {
            name: format!("child-{ttl_secs}"),
            role: pb::Role::Admin.into(),
            ttl_secs,
        };
        with_bearer(request, &short)
    };
    let refused = tokens.create_token(request(365 * 24 * 3600)).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    let field = refused.get_error_details().error_info().unwrap().metadata["field"].clone();
    assert_eq!(field, "ttl_secs");
    // Without a wish it ends with its maker.
    let made = tokens
        .create_token(request(0))
        .await
        .unwrap()
        .into_inner()
        .token
        .unwrap();
    let seconds = made.expires_at.unwrap().seconds - made.created_at.unwrap().seconds;
    assert!(seconds <= 61, "{seconds}");
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let join = pb::CreateJoinTokenRequest {
        ttl_secs: 7 * 24 * 3600,
        ..Default::default()
    };
    let refused = agents.create_join_token(with_bearer(join, &short)).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_has_a_reason() {
    let edge = Edge::memory().await;
    let answers = call_without_end(&edge, "/opslink.v1.TaskService/DoWhatIMean", 1).await;
    assert_eq!(answers, ["UNIMPLEMENTED"]);
    assert!(Rpc::of_path("/opslink.v1.TaskService/DoWhatIMean").is_none());
}
