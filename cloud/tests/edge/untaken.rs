//! Answers that nobody takes and bodies that do not end, of somebody who may call: as much of them is kept as one actor
//! has room for, and everybody else is served meanwhile.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opslink::{id::TaskId, pb, time::UnixMicros};
use opslink_cloud::{
    authz::Rpc,
    store::record::{Role, Task},
};
use pb::task_service_client::TaskServiceClient;
use prost::Message;
use tokio::{net::TcpStream, time::timeout};
use tonic::Status;

use crate::harness::{Edge, LIMIT, audit, reason, with_bearer};

/// What one actor has room for, in answers and in requests.
const ANSWERS: usize = 8 << 20;
const REQUESTS: usize = 6 << 20;
const SCRIPT: usize = 500_000;
/// Tasks with such a script: a list of them has 2.5 MB.
const TASKS: usize = 5;

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Sender = SendRequest<Body>;

/// A connection whose answers have this much room each.
async fn connect(edge: &Edge, window: u32) -> Sender {
    let io = TokioIo::new(TcpStream::connect(edge.plain_addr).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.initial_stream_window_size(window).handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(edge: &Edge, rpc: Rpc, token: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://{}{}", edge.plain_addr, rpc.path()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap()
}

/// The reason of a refusal; `None` of an answer that has begun.
async fn answered(mut sender: Sender, request: http::Request<Body>) -> (Option<String>, Sender) {
    let answer = timeout(LIMIT, sender.send_request(request))
        .await
        .expect("an answer")
        .unwrap();
    let refused = Status::from_header_map(answer.headers()).map(|status| reason(&status));
    // What has begun is kept open, and not read.
    tokio::spawn(async move {
        let _answer = answer;
        std::future::pending::<()>().await;
    });
    (refused, sender)
}

async fn large_tasks(edge: &Edge) {
    let shell = pb::ShellSpec {
        script: "x".repeat(SCRIPT).into(),
        ..Default::default()
    };
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
        ..Default::default()
    };
    for _ in 0..TASKS {
        let task = Task {
            id: TaskId::new(),
            spec: spec.encode_to_vec().into(),
            selector: pb::Selector::default().encode_to_vec().into(),
            max_parallel: 0,
            max_failures: 0,
            queue_ttl_secs: None,
            created_by: "ann".to_owned(),
            created_at: UnixMicros::now(),
            request_id: None,
            request_hash: Vec::new(),
            reason: String::new(),
            cancel_requested: false,
        };
        edge.cloud.store.task_create(task, Vec::new(), audit()).await.unwrap();
    }
}

/// R3: a viewer's three connections of a hundred unread lists each took 1.5 GB.
#[tokio::test(flavor = "multi_thread")]
async fn of_lists_that_nobody_takes_as_many_are_kept_as_there_is_room_for() {
    let edge = Edge::memory().await;
    large_tasks(&edge).await;
    let (_, greedy) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let (_, honest) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let connections = [
        connect(&edge, 0).await,
        connect(&edge, 0).await,
        connect(&edge, 0).await,
    ];
    let calls = connections
        .iter()
        .flat_map(|sender| std::iter::repeat_n(sender, 20))
        .map(|sender| {
            let empty = Full::new(Bytes::from_static(&[0; 5])).boxed_unsync();
            answered(sender.clone(), call(&edge, Rpc::ListTasks, &greedy, empty))
        });
    let answers = join_all(calls).await;
    let kept = answers.iter().filter(|(refused, _)| refused.is_none()).count();
    let refused = answers.iter().filter_map(|(refused, _)| refused.as_deref());
    assert!(
        refused.clone().all(|reason| reason == "OVERLOADED"),
        "{:?}",
        refused.collect::<Vec<_>>()
    );
    assert!(
        kept > 0 && kept * TASKS * SCRIPT <= ANSWERS,
        "{kept} of {}",
        answers.len()
    );

    let mut tasks = TaskServiceClient::new(edge.plain().await);
    let list = tasks
        .list_tasks(with_bearer(pb::ListTasksRequest::default(), &honest))
        .await;
    assert_eq!(list.unwrap().into_inner().tasks.len(), TASKS);
}

/// R4: bodies of two megabytes without an end, a hundred on each connection.
#[tokio::test(flavor = "multi_thread")]
async fn of_bodies_without_an_end_as_many_are_read_as_there_is_room_for() {
    let edge = Edge::memory().await;
    large_tasks(&edge).await;
    let (_, greedy) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let (_, honest) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let sender = connect(&edge, 65_535).await;
    let begun = || {
        let mut begun = vec![0];
        begun.extend(1_990_000_u32.to_be_bytes());
        begun.resize(10_000, b'x');
        let begun = stream::iter([Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(begun)))]);
        StreamBody::new(begun.chain(stream::pending())).boxed_unsync()
    };
    // Those that have room wait for what never comes; of the others each is told.
    let calls: Vec<_> = (0..20)
        .map(|_| tokio::spawn(answered(sender.clone(), call(&edge, Rpc::WatchTask, &greedy, begun()))))
        .collect();
    let refused = timeout(LIMIT, async {
        loop {
            let refused = calls.iter().filter(|call| call.is_finished()).count();
            if refused >= 20 - REQUESTS / 1_990_000 {
                return refused;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(refused.await.expect("refusals"), 20 - REQUESTS / 1_990_000);
    let mut tasks = TaskServiceClient::new(edge.plain().await);
    let list = tasks
        .list_tasks(with_bearer(pb::ListTasksRequest::default(), &honest))
        .await;
    assert_eq!(list.unwrap().into_inner().tasks.len(), TASKS);
}

/// A certificate's request is small; the frames beside it are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_certificate_is_no_frame_of_a_link() {
    let edge = Edge::memory().await;
    let agent = edge.join("web").await;
    let channel = edge.encrypted(Some(&agent)).await.unwrap();
    let mut links = pb::link_service_client::LinkServiceClient::new(channel);
    let request = pb::RenewCertificateRequest {
        csr_der: Bytes::from(vec![0; 100_000]),
    };
    let refused = links.renew_certificate(request).await.unwrap_err();
    assert_eq!(reason(&refused), "MESSAGE_TOO_LARGE", "{refused:?}");
}
