//! Who asks for much and reads nothing has so many streams and no more, and takes nothing from anybody else.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use opslink::{id::AttemptId, pb, time::UnixMicros};
use opslink_cloud::{
    authz::Rpc,
    store::record::{Chunk, Role},
};
use pb::{
    agent_service_client::AgentServiceClient, auth_service_client::AuthServiceClient,
    log_service_client::LogServiceClient, task_service_client::TaskServiceClient, watch_task_response::Event,
};
use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::harness::{Edge, Identity, LIMIT, PASSWORD, reason, with_bearer};

/// Chunks of the output, of this size each: 8 MiB.
const CHUNKS: u64 = 32;
const CHUNK_BYTES: usize = 256 << 10;
/// Streams that one caller may have open.
const OPEN_MAX: usize = 40;

/// A task at work on a linked agent, with output.
struct Output {
    task: String,
    attempt: AttemptId,
    _link: Streaming<pb::AttachResponse>,
}

/// Brings up the link of an agent that has nothing to report; returns after the Welcome.
pub(crate) async fn link(edge: &Edge, agent: &Identity) -> Streaming<pb::AttachResponse> {
    let channel = edge.encrypted(Some(agent)).await.unwrap();
    let hello = pb::Hello {
        min_version: 1,
        max_version: 1,
        process_nonce: "one".to_owned(),
        facts: Some(pb::Facts {
            capabilities: vec!["shell".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let hello = pb::AttachRequest {
        frame: Some(pb::attach_request::Frame::Hello(hello)),
    };
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let frames = StreamExt::chain(stream::iter([hello]), stream::pending());
    let codec = ProstCodec::<pb::AttachRequest, pb::AttachResponse>::default();
    let path = Rpc::Attach.path().parse().unwrap();
    let mut link = grpc
        .streaming(Request::new(frames), path, codec)
        .await
        .unwrap()
        .into_inner();
    link.message().await.unwrap().expect("a welcome");
    link
}

async fn output(edge: &Edge) -> Output {
    output_of(edge, CHUNKS, CHUNK_BYTES).await
}

async fn output_of(edge: &Edge, chunks: u64, chunk_bytes: usize) -> Output {
    let agent = edge.join("worker").await;
    let link = link(edge, &agent).await;
    let (_, operator) = edge.token(Role::Operator, Duration::from_secs(600)).await;
    let shell = pb::ShellSpec {
        argv: vec!["true".to_owned()],
        ..Default::default()
    };
    let request = pb::CreateTaskRequest {
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        }),
        selector: Some(pb::Selector {
            names: vec!["worker".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut tasks = TaskServiceClient::new(edge.plain().await);
    let created = timeout(LIMIT, async {
        loop {
            // Until the agent's greeting is through.
            match tasks.create_task(with_bearer(request.clone(), &operator)).await {
                Ok(created) => return created.into_inner(),
                Err(status) => assert_eq!(reason(&status), "AGENT_OFFLINE", "{status:?}"),
            }
            tokio::task::yield_now().await;
        }
    });
    let task = created.await.expect("a linked agent").task.unwrap().id;
    let store = &edge.cloud.store;
    let attempt = timeout(LIMIT, async {
        loop {
            let executions = store.execution_list(task.parse().unwrap(), None, 10).await.unwrap();
            if let Some(attempt) = executions[0].attempt_id {
                return attempt;
            }
            tokio::task::yield_now().await;
        }
    });
    let attempt = attempt.await.expect("a task that is handed over");
    let chunks = (0..chunks).map(|seq| Chunk {
        attempt_id: attempt,
        first_seq: seq,
        event_count: 1,
        first_line: seq,
        line_count: 1,
        raw_size: chunk_bytes as u64,
        first_time: UnixMicros(1),
        last_time: UnixMicros(1),
        codec: pb::Codec::Identity.into(),
        payload: Bytes::from(vec![b'x'; chunk_bytes]),
        outcome: None,
    });
    let appended = store.chunk_append(chunks.collect()).await.unwrap();
    assert!(appended.iter().all(|appended| appended.stored));
    Output {
        task,
        attempt,
        _link: link,
    }
}

impl Output {
    fn watch(&self) -> pb::WatchTaskRequest {
        pb::WatchTaskRequest {
            task_id: self.task.clone(),
            output: pb::OutputMode::Chunks.into(),
            no_follow: true,
            ..Default::default()
        }
    }

    fn log(&self) -> pb::ReadLogRequest {
        pb::ReadLogRequest {
            attempt_id: self.attempt.to_string(),
            ..Default::default()
        }
    }
}

/// A client that gives its streams no window: whatever the cloud has for them stays there.
async fn stalled(edge: &Edge) -> Channel {
    with_window(edge, 0).await
}

/// A client that takes so many bytes of each stream, and then nothing.
async fn with_window(edge: &Edge, bytes: u32) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", edge.plain_addr)).unwrap();
    endpoint.initial_stream_window_size(bytes).connect().await.unwrap()
}

fn assert_refused(status: &Status) {
    assert_eq!(reason(status), "TOO_MANY_STREAMS", "{status:?}");
    assert!(status.message().contains("40 watches and logs open"), "{status:?}");
}

/// A0: a viewer's two hundred unread watches took 1.9 GB.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_has_so_many_streams_and_others_get_every_byte() {
    let edge = Edge::memory().await;
    let output = output(&edge).await;
    let (_, greedy) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let (_, honest) = edge.token(Role::Viewer, Duration::from_secs(600)).await;

    let clients = [stalled(&edge).await, stalled(&edge).await];
    let mut open = Vec::new();
    for client in &clients {
        let mut tasks = TaskServiceClient::new(client.clone());
        for _ in 0..90 {
            match tasks.watch_task(with_bearer(output.watch(), &greedy)).await {
                Ok(watch) => open.push(watch.into_inner()),
                Err(status) => assert_refused(&status),
            }
        }
    }
    assert_eq!(open.len(), OPEN_MAX);
    // However it asks, and over whatever connection.
    let channel = edge.plain().await;
    let mut logs = LogServiceClient::new(channel.clone());
    let refused = logs.read_log(with_bearer(output.log(), &greedy)).await.unwrap_err();
    assert_refused(&refused);
    let mut agents = AgentServiceClient::new(channel.clone());
    let request = with_bearer(pb::WatchAgentsRequest {}, &greedy);
    assert_refused(&agents.watch_agents(request).await.unwrap_err());

    // Meanwhile somebody else reads all of it, in both ways.
    let everything = CHUNKS as usize * CHUNK_BYTES;
    let mut log = logs
        .read_log(with_bearer(output.log(), &honest))
        .await
        .unwrap()
        .into_inner();
    let mut bytes = 0;
    while let Some(piece) = timeout(LIMIT, log.message()).await.expect("in time").unwrap() {
        bytes += piece.chunk.unwrap().payload.len();
    }
    assert_eq!(bytes, everything);
    let mut tasks = TaskServiceClient::new(channel);
    let watch = tasks.watch_task(with_bearer(output.watch(), &honest)).await;
    let (mut watch, mut bytes) = (watch.unwrap().into_inner(), 0);
    while let Some(message) = timeout(LIMIT, watch.message()).await.expect("in time").unwrap() {
        if let Some(Event::Chunk(chunk)) = message.event {
            bytes += chunk.payload.len();
        }
    }
    assert_eq!(bytes, everything);

    // What is closed makes room.
    drop(open);
    timeout(LIMIT, async {
        while let Err(status) = logs.read_log(with_bearer(output.log(), &greedy)).await {
            assert_refused(&status);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("room again");
}

/// Up to 128 KiB of a stream went into the connection whole, its end behind it, and nobody counted them any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_until_its_bytes_have_left_however_early_it_was_read_for_its_caller() {
    // In one piece with its end, and in one before it.
    for bytes in [20_000, 115_000] {
        let edge = Edge::memory().await;
        let output = output_of(&edge, 1, bytes).await;
        let (_, token) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
        let request = pb::ReadLogRequest {
            max_chunks: 1,
            ..output.log()
        };
        // The first byte is taken, so the connection gets what comes behind it.
        let mut logs = LogServiceClient::new(with_window(&edge, 1).await);
        let mut open = Vec::new();
        for _ in 0..2 * OPEN_MAX {
            match logs.read_log(with_bearer(request.clone(), &token)).await {
                Ok(log) => open.push(log.into_inner()),
                Err(status) => assert_refused(&status),
            }
        }
        assert_eq!(open.len(), OPEN_MAX, "{bytes}");
        drop(open);
        // Whoever takes all of it has room again as soon as it hears of the end.
        let mut logs = LogServiceClient::new(edge.plain().await);
        timeout(LIMIT, async {
            while let Err(status) = logs.read_log(with_bearer(request.clone(), &token)).await {
                assert_refused(&status);
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("room again");
    }
}

/// What is kept for a caller that reads nothing goes with its login, not only when it reads again.
#[tokio::test(flavor = "multi_thread")]
async fn an_unread_stream_ends_with_its_login_too() {
    let edge = Edge::memory().await;
    let output = output(&edge).await;
    let channel = edge.plain().await;
    let mut auth = AuthServiceClient::new(channel.clone());
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let request = pb::LoginRequest {
            username: "admin".to_owned(),
            password: PASSWORD.to_owned(),
            use_cookie: false,
        };
        sessions.push(auth.login(request).await.unwrap().into_inner().session_token);
    }
    let [unread, other] = sessions.as_slice() else {
        panic!("two sessions")
    };
    let mut tasks = TaskServiceClient::new(stalled(&edge).await);
    let mut open = Vec::new();
    for _ in 0..OPEN_MAX {
        open.push(tasks.watch_task(with_bearer(output.watch(), unread)).await.unwrap());
    }
    let mut logs = LogServiceClient::new(channel);
    let refused = logs.read_log(with_bearer(output.log(), other)).await.unwrap_err();
    assert_refused(&refused);
    auth.logout(with_bearer(pb::LogoutRequest {}, unread)).await.unwrap();
    timeout(LIMIT, async {
        while let Err(status) = logs.read_log(with_bearer(output.log(), other)).await {
            assert_refused(&status);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("their places");
    assert_eq!(open.len(), OPEN_MAX, "nobody closed them");
}

/// Forty logs with large events took 134 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_large_events_counts_as_four_and_waits_for_that_much_room() {
    let edge = Edge::memory().await;
    let output = output_of(&edge, 1, 4 * CHUNK_BYTES).await;
    let (_, token) = edge.token(Role::Viewer, Duration::from_secs(600)).await;
    let channel = edge.plain().await;
    let mut agents = AgentServiceClient::new(channel.clone());
    let mut open = Vec::new();
    for _ in 0..OPEN_MAX - 3 {
        let request = with_bearer(pb::WatchAgentsRequest {}, &token);
        open.push(agents.watch_agents(request).await.unwrap());
    }
    let mut logs = LogServiceClient::new(channel);
    let log = logs.read_log(with_bearer(output.log(), &token)).await;
    let mut log = log.expect("room for a light one").into_inner();
    let refused = timeout(LIMIT, log.message()).await.expect("in time").unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_STREAMS", "{refused:?}");
    drop((log, open.pop()));
    let read = timeout(LIMIT, async {
        loop {
            let log = logs.read_log(with_bearer(output.log(), &token)).await;
            match log.expect("room for a light one").into_inner().message().await {
                Ok(piece) => return piece,
                Err(status) => assert_eq!(reason(&status), "TOO_MANY_STREAMS", "{status:?}"),
            }
            tokio::task::yield_now().await;
        }
    });
    let piece = read.await.expect("room for it").expect("output");
    assert_eq!(piece.chunk.unwrap().payload.len(), 4 * CHUNK_BYTES);
}
