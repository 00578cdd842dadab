//! Browsers and tools: cookies only from our own pages, console, reflection, health.

use std::{collections::HashMap, net::SocketAddr};

use futures::stream;
use opslink::pb;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Request;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::{Edge, LIMIT, PASSWORD};

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    /// From the headers, or from the last frame of a gRPC-web body.
    fn grpc_status(&self) -> String {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let in_body = body
            .split("grpc-status:")
            .nth(1)
            .map(|rest| rest.trim_start().to_owned());
        let text = self.headers.get("grpc-status").cloned().or(in_body).unwrap_or_default();
        text.chars().take_while(char::is_ascii_digit).collect()
    }
}

async fn http(addr: SocketAddr, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut request = format!(
        "{head} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    let split = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: answer[split + 4..].to_vec(),
    }
}

async fn grpc_web(addr: SocketAddr, method: &str, message: &impl Message, headers: &[(&str, &str)]) -> Answer {
    let encoded = message.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
    body.extend(encoded);
    let mut all = vec![("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    all.extend(headers);
    http(addr, &format!("POST /opslink.v1.{method}"), &all, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_works_only_from_our_own_console() {
    let edge = Edge::memory().await;
    let addr = edge.plain_addr;
    let origin = format!("http://{addr}");
    let ours = [("origin", origin.as_str()), ("x-opslink-console", "1")];
    let login = pb::LoginRequest {
        username: "admin".to_owned(),
        password: PASSWORD.to_owned(),
        use_cookie: true,
    };

    // A foreign page cannot even log a browser in.
    for foreign in [
        vec![],
        vec![("origin", "http://evil.example"), ("x-opslink-console", "1")],
        vec![ours[0]],
    ] {
        let refused = grpc_web(addr, "AuthService/Login", &login, &foreign).await;
        assert_eq!(refused.grpc_status(), "7", "{foreign:?}");
        assert!(!refused.headers.contains_key("set-cookie"));
    }
    let answer = grpc_web(addr, "AuthService/Login", &login, &ours).await;
    assert_eq!((answer.status, answer.grpc_status().as_str()), (200, "0"));
    let cookie = answer.headers["set-cookie"].clone();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"),
        "{cookie}"
    );
    assert!(!cookie.contains("Secure"), "the plain port has no TLS");
    assert!(
        !answer.body.windows(4).any(|window| window == b"ols_"),
        "the secret is only in the cookie"
    );
    let cookie = cookie.split(';').next().unwrap();

    let who = pb::GetCurrentUserRequest {};
    let own = [("cookie", cookie), ours[0], ours[1]];
    assert_eq!(
        grpc_web(addr, "AuthService/GetCurrentUser", &who, &own)
            .await
            .grpc_status(),
        "0"
    );
    for foreign in [
        vec![("cookie", cookie)],
        vec![("cookie", cookie), ours[1]],
        vec![("cookie", cookie), ours[0]],
        vec![("cookie", cookie), ours[1], ("origin", "http://evil.example")],
        vec![("cookie", cookie), ours[1], ("origin", "null")],
    ] {
        let refused = grpc_web(addr, "AuthService/GetCurrentUser", &who, &foreign).await;
        assert_eq!(refused.grpc_status(), "7", "{foreign:?}");
    }
    let out = grpc_web(addr, "AuthService/Logout", &pb::LogoutRequest {}, &own).await;
    assert_eq!(out.grpc_status(), "0");
    assert_eq!(
        grpc_web(addr, "AuthService/GetCurrentUser", &who, &own)
            .await
            .grpc_status(),
        "16"
    );
}

/// Asks for the console and stays; false when the connection was ended.
async fn page(connection: &mut TcpStream, cookie: &str) -> bool {
    let request = format!("HEAD / HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\r\n");
    if connection.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = timeout(LIMIT, connection.read_buf(&mut head));
        if !read.await.expect("an answer in time").is_ok_and(|read| read > 0) {
            return false;
        }
    }
    head.starts_with(b"HTTP/1.1 ")
}

/// HIGH 1: nothing of the console made anybody known, so whoever had logged in was a stranger until all of it was there.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_logged_in_is_no_stranger_while_the_console_comes() {
    let edge = Edge::memory().await;
    let origin = format!("http://{}", edge.plain_addr);
    let ours = [("origin", origin.as_str()), ("x-opslink-console", "1")];
    let login = pb::LoginRequest {
        username: "admin".to_owned(),
        password: PASSWORD.to_owned(),
        use_cookie: true,
    };
    let answer = grpc_web(edge.plain_addr, "AuthService/Login", &login, &ours).await;
    let cookie = answer.headers["set-cookie"].split(';').next().unwrap();
    let connect = async || TcpStream::connect(edge.plain_addr).await.unwrap();
    let mut person = connect().await;
    assert!(page(&mut person, cookie).await);
    let mut impostor = connect().await;
    assert!(page(&mut impostor, "opslink_session=ols_wrong").await);
    // More than one address may have of those that showed nothing: the oldest ends.
    let mut strangers = Vec::new();
    for _ in 0..70 {
        let mut stranger = connect().await;
        assert!(page(&mut stranger, "a=b").await);
        strangers.push(stranger);
    }
    assert!(page(&mut person, cookie).await);
    assert!(!page(&mut impostor, cookie).await);
}

#[tokio::test]
async fn what_is_not_a_call_gets_the_console_with_its_headers() {
    let edge = Edge::memory().await;
    for path in ["/", "/agents", "/tasks/0192f0c1"] {
        let page = http(edge.plain_addr, &format!("GET {path}"), &[], b"").await;
        // 503 in a binary that was built without the console: it says how to build it.
        assert!(page.status == 200 || page.status == 503, "{path}: {}", page.status);
        assert!(page.headers["content-type"].starts_with("text/html"));
        let policy = &page.headers["content-security-policy"];
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe-inline"));
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(http(edge.plain_addr, "GET /assets/none.js", &[], b"").await.status, 404);
    assert_eq!(http(edge.plain_addr, "POST /", &[], b"").await.status, 405);
    let unknown = grpc_web(edge.plain_addr, "NoService/None", &pb::LogoutRequest {}, &[]).await;
    assert_eq!(unknown.grpc_status(), "12");
}

/// The names of all services, asked with these messages.
macro_rules! services {
    ($edge:expr, $version:ident, $path:literal) => {{
        let mut grpc = tonic::client::Grpc::new($edge.plain().await);
        grpc.ready().await.unwrap();
        let request = $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some($version::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            )),
        };
        let codec = ProstCodec::<_, $version::ServerReflectionResponse>::default();
        let path = http::uri::PathAndQuery::from_static($path);
        let answer = grpc
            .streaming(Request::new(stream::iter([request])), path, codec)
            .await
            .unwrap();
        let message = answer.into_inner().message().await.unwrap().unwrap();
        match message.message_response.unwrap() {
            $version::server_reflection_response::MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    }};
}

#[tokio::test]
async fn reflection_lists_every_service_without_a_login_in_both_versions() {
    let edge = Edge::memory().await;
    let new = services!(edge, v1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let old = services!(
        edge,
        v1alpha,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    );
    for listed in [new, old] {
        for rpc in opslink_cloud::authz::Rpc::ALL {
            let name = format!("opslink.v1.{}", rpc.service());
            assert!(listed.contains(&name), "{name} in {listed:?}");
        }
        assert!(listed.contains(&"grpc.health.v1.Health".to_owned()), "{listed:?}");
    }
}

#[tokio::test]
async fn health_is_open_to_everybody() {
    let edge = Edge::memory().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(edge.plain().await);
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
}
