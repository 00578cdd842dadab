//! The engine on a bench, and a hand-played agent.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use opslink::{
    chunk::Encoder,
    event::{Event, EventBody, Stream},
    id::{AgentId, AttemptId, TokenId},
    pb,
    pb::{attach_request::Frame as Up, attach_response::Frame as Down},
    problem::Problem,
    task::{ExecutionState, Outcome, StreamDigest},
    time::UnixMicros,
};
use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::api::Api;
use crate::{
    agents::Directory,
    identity::Caller,
    link::Links,
    store::{
        Store,
        memory::MemoryStore,
        record::{Audit, JoinResult, JoinToken, NewAgent, Role},
    },
    task::{Config, Engine, Signer},
};

/// Longest wait for anything: only reached by a failing test.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Bench {
    pub(super) engine: Api,
    pub(super) store: Store,
    pub(super) directory: Directory,
    stop: DropGuard,
}

pub(super) fn caller() -> Caller {
    Caller {
        actor: "ann".into(),
        role: Role::Operator,
        peer: "127.0.0.1:1".into(),
        token_name: None,
        token_expires_at: None,
        session_hash: None,
        user: None,
    }
}

pub(super) fn audit() -> Audit {
    caller().audit("test", String::new(), String::new())
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        Self::over(Store::from(MemoryStore::new()), config).await
    }

    /// Stops the cloud.
    pub(super) fn stop(self) {
        drop(self.stop);
    }

    /// Another cloud over the same store.
    pub(super) async fn over(store: Store, config: Config) -> Self {
        let stop = CancellationToken::new();
        let directory = Directory::load(store.clone()).await.unwrap();
        let signer = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        let engine = Engine::start(store.clone(), directory.clone(), signer, config, stop.clone());
        Self {
            engine: Api(engine),
            store,
            directory,
            stop: stop.drop_guard(),
        }
    }

    /// Joins an agent that is not here yet.
    pub(super) async fn join(&self, name: &str) -> AgentId {
        let token = JoinToken {
            id: TokenId::new(),
            secret_hash: vec![1],
            labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
            agent_name: String::new(),
            created_by: "ann".into(),
            created_at: UnixMicros::now(),
            expires_at: UnixMicros::now().plus(LIMIT),
            used: None,
            revoked: false,
            request_id: None,
        };
        let id = token.id;
        self.store.join_token_insert(token, audit()).await.unwrap();
        let new = NewAgent {
            id: AgentId::new(),
            proposed_name: name.into(),
            enrolled_at: UnixMicros::now(),
        };
        let JoinResult::Joined(agent) = self.store.agent_join(id, &[1], new, audit()).await.unwrap() else {
            panic!("{name} did not join");
        };
        let id = agent.id;
        self.directory.upsert(agent);
        id
    }

    /// Brings up the link of an agent that reports these attempts.
    pub(super) async fn attach(&self, id: AgentId, attempts: Vec<pb::AttemptReport>) -> Agent {
        Agent::attach(&self.engine, id, attempts).await.unwrap()
    }

    pub(super) async fn joined(&self, name: &str) -> Agent {
        let id = self.join(name).await;
        self.attach(id, Vec::new()).await
    }

    pub(super) async fn create(&self, request: pb::CreateTaskRequest) -> Result<pb::CreateTaskResponse, Problem> {
        self.engine.create(&caller(), request).await
    }

    pub(super) async fn create_on(&self, names: &[&str]) -> pb::CreateTaskResponse {
        self.create(on(names)).await.unwrap()
    }

    pub(super) async fn states(&self, task: &str) -> Vec<pb::ExecutionState> {
        let request = pb::ListExecutionsRequest {
            task_id: task.into(),
            ..Default::default()
        };
        let executions = self.engine.list_executions(request).await.unwrap().executions;
        executions.iter().map(pb::Execution::state).collect()
    }

    /// Waits until so many agents have said Hello.
    pub(super) async fn until_arrived(&self, count: u64) {
        let arrived = async {
            while self.engine.links.arrivals() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("the Hello", arrived).await;
    }

    /// Waits until an agent is known to be offline.
    pub(super) async fn until_offline(&self, id: AgentId) {
        let offline = async {
            while self.directory.get(id).unwrap().online {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("the end of the link", offline).await;
    }

    /// Waits until the executions of a task are in these states.
    pub(super) async fn until(&self, task: &str, wanted: &[pb::ExecutionState]) {
        let mut last = Vec::new();
        let reached = async {
            loop {
                last = self.states(task).await;
                if last == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = timeout(LIMIT, reached).await;
        assert!(reached.is_ok(), "wanted {wanted:?}, is {last:?}");
    }
}

/// A fake task on these agents.
pub(super) fn on(names: &[&str]) -> pb::CreateTaskRequest {
    let fake = pb::FakeSpec { steps: Vec::new() };
    pb::CreateTaskRequest {
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Fake(fake)),
            ..Default::default()
        }),
        selector: Some(pb::Selector {
            names: names.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Waits for something with a limit.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(super) fn report(attempt: AttemptId, phase: pb::AttemptPhase, next_seq: u64) -> pb::AttemptReport {
    pb::AttemptReport {
        attempt_id: attempt.to_string(),
        phase: phase.into(),
        next_seq,
    }
}

pub(super) fn refused(attempt: AttemptId, reason: &str) -> Up {
    Up::Refused(pb::Refused {
        attempt_id: attempt.to_string(),
        reason: reason.into(),
        message: "m".into(),
    })
}

type Sender = mpsc::Sender<Result<pb::AttachRequest, Status>>;
type Frames = BoxStream<'static, Result<pb::AttachResponse, Problem>>;

/// An agent that does what the test says.
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) welcome: pb::Welcome,
    pub(super) up: Sender,
    down: Frames,
}

impl Agent {
    pub(super) async fn attach(
        engine: &Engine,
        id: AgentId,
        attempts: Vec<pb::AttemptReport>,
    ) -> Result<Self, Problem> {
        let (dialing, up) = Self::dial(&engine.links, id, attempts);
        Ok(Self::welcomed(id, dialing.await?, up).await)
    }

    /// Says Hello; the answer is the frames from the cloud.
    pub(super) fn dial(
        links: &Links,
        id: AgentId,
        attempts: Vec<pb::AttemptReport>,
    ) -> (impl Future<Output = Result<Frames, Problem>> + Send + use<>, Sender) {
        let facts = pb::Facts {
            capabilities: vec!["fake".into()],
            ..Default::default()
        };
        let hello = pb::Hello {
            min_version: 1,
            max_version: 1,
            facts: Some(facts),
            attempts,
            ..Default::default()
        };
        let (up, inbound) = mpsc::channel(1_024);
        let hello = pb::AttachRequest {
            frame: Some(Up::Hello(hello)),
        };
        up.try_send(Ok(hello)).unwrap();
        let links = links.clone();
        let dialing = async move {
            let frames = links.attach(id, "test".into(), ReceiverStream::new(inbound)).await?;
            Ok(frames.boxed())
        };
        (dialing, up)
    }

    /// Takes the Welcome.
    pub(super) async fn welcomed(id: AgentId, mut down: Frames, up: Sender) -> Self {
        let first = soon("the welcome", down.next()).await.unwrap().unwrap().frame.unwrap();
        let Down::Welcome(welcome) = first else {
            panic!("{first:?} before the welcome")
        };
        Self { id, welcome, up, down }
    }

    pub(super) async fn send(&self, frame: Up) {
        self.up
            .send(Ok(pb::AttachRequest { frame: Some(frame) }))
            .await
            .unwrap();
    }

    /// The next frame, or why the link ended.
    pub(super) async fn next(&mut self) -> Result<Down, Option<Problem>> {
        match soon("a frame", self.down.next()).await {
            Some(Ok(frame)) => Ok(frame.frame.unwrap()),
            Some(Err(problem)) => Err(Some(problem)),
            None => Err(None),
        }
    }

    /// Waits for the end of the link, passing over what comes before.
    pub(super) async fn end_of_link(&mut self) -> Option<Problem> {
        loop {
            if let Err(why) = self.next().await {
                return why;
            }
        }
    }

    /// The attempt of the next task frame.
    pub(super) async fn task(&mut self) -> AttemptId {
        loop {
            if let Down::Task(task) = self.next().await.unwrap() {
                let envelope = pb::TaskEnvelope::decode(task.envelope.unwrap().body).unwrap();
                assert_eq!(envelope.agent_id, self.id.to_string());
                return envelope.attempt_id.parse().unwrap();
            }
        }
    }

    pub(super) async fn cancel(&mut self) -> AttemptId {
        loop {
            if let Down::Cancel(cancel) = self.next().await.unwrap() {
                return cancel.attempt_id.parse().unwrap();
            }
        }
    }

    /// The next acknowledgement, or a later one that says 'archived'.
    pub(super) async fn archived(&mut self, attempt: AttemptId) -> u64 {
        loop {
            if let Down::Ack(ack) = self.next().await.unwrap()
                && ack.archived
                && ack.attempt_id == attempt.to_string()
            {
                return ack.next_seq;
            }
        }
    }

    pub(super) async fn accept(&self, attempt: AttemptId) {
        let phase = pb::AttemptPhase::Running.into();
        self.send(Up::Accepted(pb::Accepted {
            attempt_id: attempt.to_string(),
            phase,
        }))
        .await;
    }

    /// Sends all that an attempt has to say: one chunk per text, and the end.
    pub(super) async fn finish(&self, attempt: AttemptId, texts: &[&str], state: ExecutionState) {
        for chunk in script(attempt, texts, state) {
            self.send(Up::Chunk(chunk)).await;
        }
    }
}

/// The chunks of an attempt: one per text, the last with the end.
pub(super) fn script(attempt: AttemptId, texts: &[&str], state: ExecutionState) -> Vec<pb::LogChunk> {
    let mut encoder = Encoder::new(attempt, 1);
    let mut chunks = Vec::new();
    let mut all = Vec::new();
    for text in texts {
        all.extend_from_slice(text.as_bytes());
        let data = Bytes::copy_from_slice(text.as_bytes());
        encoder.push(Event {
            time_us: 1,
            body: EventBody::Output {
                stream: Stream::Stdout,
                data,
            },
        });
        chunks.extend(encoder.seal());
    }
    let digest = StreamDigest {
        stream: Stream::Stdout,
        bytes: all.len() as u64,
        blake3: Bytes::copy_from_slice(blake3::hash(&all).as_bytes()),
    };
    let outcome = Outcome {
        streams: vec![digest],
        ..super::records::ended_as(state)
    };
    encoder.push(Event {
        time_us: 2,
        body: EventBody::End(outcome),
    });
    chunks.extend(encoder.seal());
    chunks
}
