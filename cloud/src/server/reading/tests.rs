//! Who reads, through everything that stands in front of the handlers and through them, on SQLite, whose readers can be
//! counted and taken.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::Response};
use futures::{
    FutureExt, StreamExt,
    future::join_all,
    stream::{self, Stream},
};
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, StreamBody};
use opslink::{
    id::{AttemptId, TaskId, TokenId},
    pb,
    time::UnixMicros,
};
use prost::Message;
use tempfile::TempDir;
use tokio::{
    task::{coop::unconstrained, yield_now},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Code;
use tower::ServiceExt;

use super::*;
use crate::{
    authz::Rpc,
    identity::secret,
    server::{Cloud, Settings, sizes},
    store::{
        Store,
        record::{Audit, Role, Token},
        sql::{Options, SqlStore},
    },
};

/// Longest wait: only reached by a failing test. Longer than anybody waits for a reader.
const LIMIT: Duration = Duration::from_secs(15);

/// Lists that ask the directory, and no store.
const FROM_MEMORY: [Rpc; 2] = [Rpc::ListAgents, Rpc::MatchAgents];

type Call = Pin<Box<dyn Future<Output = Response>>>;

/// A cloud, and two who may do everything.
struct Served {
    router: Router,
    store: Store,
    /// What reads for callers.
    callers: Store,
    greedy: String,
    other: String,
    _stop: DropGuard,
    _folder: TempDir,
}

/// Stores an API token; its secret.
async fn token(store: &Store, name: &str) -> String {
    let text = secret::with_prefix(secret::TOKEN_PREFIX).unwrap();
    let now = UnixMicros::now();
    let token = Token {
        id: TokenId::new(),
        name: name.to_owned(),
        secret_hash: secret::hash(&text).to_vec(),
        role: Role::Admin,
        created_by: "test".to_owned(),
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3_600)),
        last_used_at: Some(now),
        revoked: false,
    };
    let audit = Audit::system("test", String::new(), String::new());
    store.token_insert(token, audit).await.unwrap();
    text
}

impl Served {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().display());
        let store = SqlStore::open(&url, Options::default()).await.unwrap();
        let (greedy, other) = (token(&store, "greedy").await, token(&store, "other").await);
        let stop = CancellationToken::new();
        let settings = Settings {
            names: vec!["localhost".to_owned()],
            ..Settings::default()
        };
        let cloud = Cloud::assemble(store.clone(), settings, stop.clone()).await.unwrap();
        Self {
            router: cloud.router(),
            callers: store.for_callers(),
            store,
            greedy,
            other,
            _stop: stop.drop_guard(),
            _folder: folder,
        }
    }

    /// A call that nobody has polled yet. When it is polled it goes as far as it can: no budget of the runtime's stops it.
    fn call(&self, rpc: Rpc, secret: &str, body: Body) -> Call {
        let request = Request::post(rpc.path())
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {secret}"))
            .body(body)
            .unwrap();
        let answer = self.router.clone().oneshot(request);
        Box::pin(unconstrained(async move { answer.await.unwrap() }))
    }

    /// What a call comes to.
    async fn code(&self, rpc: Rpc, secret: &str) -> Code {
        let answer = timeout(LIMIT, self.call(rpc, secret, whole(rpc))).await;
        code(answer.unwrap_or_else(|_| panic!("{rpc:?} waits for ever"))).await
    }

    /// Lets nothing but what a call itself reads take a reader: for two seconds everybody knows whose the tokens are.
    async fn warm(&self) {
        for secret in [&self.greedy, &self.other] {
            assert_eq!(self.code(Rpc::GetCurrentUser, secret).await, Code::Ok);
        }
    }

    /// Waits until no more than so many read for callers.
    async fn until_at_work(&self, most: usize) {
        let few = async {
            while self.callers.readers_at_work() > most {
                yield_now().await;
            }
        };
        timeout(LIMIT, few).await.expect("the end of reading");
    }

    /// Calls of one actor, each as far as it comes by itself: not to its end, though the database may be that fast.
    async fn begun(&self, calls: impl IntoIterator<Item = (Rpc, Box<dyn Fn() -> Body>)>) -> Vec<Call> {
        let mut begun = Vec::new();
        for (rpc, body) in calls {
            let call = loop {
                let mut call = self.call(rpc, &self.greedy, body());
                if call.as_mut().now_or_never().is_none() {
                    break call;
                }
                drop(call);
                self.until_at_work(OF_ONE.min(begun.len())).await;
            };
            begun.push(call);
        }
        begun
    }
}

/// What is asked: for something that there is not, where it has to be named.
fn message(rpc: Rpc) -> Vec<u8> {
    let (task_id, attempt_id) = (TaskId::new().to_string(), AttemptId::new().to_string());
    match rpc {
        Rpc::GetTask => pb::GetTaskRequest { id: task_id }.encode_to_vec(),
        Rpc::WatchTask => {
            let request = pb::WatchTaskRequest {
                task_id,
                ..Default::default()
            };
            request.encode_to_vec()
        }
        Rpc::ListExecutions => {
            let request = pb::ListExecutionsRequest {
                task_id,
                ..Default::default()
            };
            request.encode_to_vec()
        }
        Rpc::ListChunks => {
            let request = pb::ListChunksRequest {
                attempt_id,
                ..Default::default()
            };
            request.encode_to_vec()
        }
        Rpc::ReadLog => {
            let request = pb::ReadLogRequest {
                attempt_id,
                ..Default::default()
            };
            request.encode_to_vec()
        }
        Rpc::SetAgentLabels => {
            let request = pb::SetAgentLabelsRequest {
                agent: "nobody".to_owned(),
                ..Default::default()
            };
            request.encode_to_vec()
        }
        _ => Vec::new(),
    }
}

/// The bytes of a request.
fn bytes(rpc: Rpc) -> Bytes {
    let message = message(rpc);
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

/// A body that can be made as often as it has to.
fn again(body: impl Fn() -> Body + 'static) -> Box<dyn Fn() -> Body> {
    Box::new(body)
}

fn whole(rpc: Rpc) -> Body {
    Body::from(bytes(rpc))
}

fn framed(frames: impl Stream<Item = Frame<Bytes>> + Send + 'static) -> Body {
    Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>)))
}

async fn code(answer: Response) -> Code {
    let (parts, body) = answer.into_parts();
    let trailers = match parts.headers.contains_key("grpc-status") {
        true => parts.headers,
        false => body.collect().await.unwrap().trailers().cloned().expect("a status"),
    };
    Code::from_bytes(trailers["grpc-status"].as_bytes())
}

#[tokio::test]
async fn who_reads_without_pause_has_two_readers_and_somebody_else_is_answered_meanwhile() {
    let served = Served::new().await;
    let reading = |rpc: &Rpc| sizes::reads(*rpc) && !FROM_MEMORY.contains(rpc);
    for rpc in Rpc::ALL.iter().copied().filter(reading) {
        served.until_at_work(0).await;
        served.warm().await;
        // Slow ones: they have their readers for as long as nobody polls them again.
        let calls = [rpc, rpc, Rpc::GetTask, Rpc::WatchTask].map(|rpc| (rpc, again(move || whole(rpc))));
        let calls = served.begun(calls).await;
        assert_eq!(served.callers.readers_at_work(), OF_ONE, "{rpc:?}");
        assert_eq!(served.code(Rpc::GetTask, &served.other).await, Code::NotFound);
        let answers = timeout(LIMIT, join_all(calls)).await.expect("one after the other");
        for answer in answers {
            assert!(matches!(code(answer).await, Code::Ok | Code::NotFound), "{rpc:?}");
        }
    }
}

/// Once such calls read what the engine reads with: a list of all tokens for each page, of all agents for each slip of the
/// pen.
#[tokio::test]
async fn nothing_that_callers_look_up_waits_for_what_the_engine_reads_with() {
    let served = Served::new().await;
    let reading = Rpc::ALL.iter().copied().filter(|rpc| sizes::reads(*rpc));
    for rpc in reading.chain([Rpc::SetAgentLabels]) {
        served.warm().await;
        let taken = served.store.take_readers().await;
        let code = served.code(rpc, &served.greedy).await;
        drop(taken);
        let is_answered = matches!(code, Code::Ok | Code::NotFound | Code::InvalidArgument);
        assert!(is_answered, "{rpc:?}: {code:?}");
    }
}

#[tokio::test]
async fn nobody_stands_behind_a_request_that_does_not_end() {
    let served = Served::new().await;
    served.warm().await;
    let endless = || framed(stream::iter([Frame::data(bytes(Rpc::GetTask))]).chain(stream::pending()));
    let calls = served.begun([(); 4].map(|()| (Rpc::GetTask, again(endless)))).await;
    assert_eq!(served.callers.readers_at_work(), 0);
    assert_eq!(served.code(Rpc::GetTask, &served.greedy).await, Code::NotFound);
    drop(calls);
}

#[tokio::test]
async fn whoever_ends_its_request_with_trailers_stands_in_line_too() {
    let served = Served::new().await;
    served.warm().await;
    let trailed = || {
        let frames = [Frame::data(bytes(Rpc::GetTask)), Frame::trailers(HeaderMap::new())];
        framed(stream::iter(frames))
    };
    let calls = served.begun([(); 4].map(|()| (Rpc::GetTask, again(trailed)))).await;
    assert_eq!(served.callers.readers_at_work(), OF_ONE);
    for answer in timeout(LIMIT, join_all(calls)).await.expect("one after the other") {
        assert_eq!(code(answer).await, Code::NotFound);
    }
}

#[tokio::test]
async fn who_goes_away_while_it_waits_or_reads_leaves_its_place() {
    let served = Served::new().await;
    served.warm().await;
    let calls = served
        .begun([(); 4].map(|()| (Rpc::GetTask, again(|| whole(Rpc::GetTask)))))
        .await;
    assert_eq!(served.callers.readers_at_work(), OF_ONE);
    drop(calls);
    assert_eq!(served.code(Rpc::GetTask, &served.greedy).await, Code::NotFound);
}
