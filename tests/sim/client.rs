//! The people of a run: one who creates and cancels tasks, and one who watches the first of them. Both try again until
//! the cloud answers, as the command line does.

use std::{sync::Arc, time::Duration};

use opslink::{
    chunk,
    pb::{self, task_service_client::TaskServiceClient},
    task::ExecutionState,
    time::UnixMicros,
};
use opslink_agent::dial::{self, Address};
use rustls::pki_types::CertificateDer;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    net::{CLOUD, Dialer, Meter, PORT},
    script::AGENTS,
    world::Shared,
};

/// Longest wait for an answer; the cloud may be dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// A client of the API that dials again when it has to.
pub(crate) struct Api {
    dialer: Dialer,
    tls: Arc<rustls::ClientConfig>,
    token: String,
    channel: Option<Channel>,
}

impl Api {
    /// Makes one for a host, which trusts this root.
    pub(crate) fn new(host: &str, meter: Meter, root: &CertificateDer<'static>, token: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.clone()).expect("the root is a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let dialer = Dialer {
            host: host.to_owned(),
            meter,
        };
        Self {
            dialer,
            tls: Arc::new(tls),
            token: format!("Bearer {token}"),
            channel: None,
        }
    }

    /// Does a call until it is answered by more than 'try again'.
    async fn call<T, R, F, Fut>(&mut self, message: &T, call: F) -> R
    where
        T: Clone,
        F: Fn(TaskServiceClient<Channel>, Request<T>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        loop {
            if let Some(channel) = self.channel().await {
                let mut request = Request::new(message.clone());
                let token = self.token.parse().expect("the token is ASCII");
                request.metadata_mut().insert("authorization", token);
                match timeout(ANSWER_WITHIN, call(TaskServiceClient::new(channel), request)).await {
                    Ok(Ok(response)) => return response.into_inner(),
                    Ok(Err(status)) if is_passing(&status) => {}
                    Ok(Err(status)) => panic!("the cloud refused: {status:?}"),
                    Err(_) => {}
                }
            }
            self.channel = None;
            sleep(PAUSE).await;
        }
    }

    async fn channel(&mut self) -> Option<Channel> {
        if self.channel.is_none() {
            let address = Address {
                host: CLOUD.into(),
                port: PORT,
            };
            self.channel = dial::dial(&self.dialer, &address, self.tls.clone()).await.ok();
        }
        self.channel.clone()
    }
}

/// Says whether the answer is about the connection or the moment, not about the call.
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
    )
}

/// Creates and cancels what the script says, then waits for every end and for every comparison of output.
pub(crate) async fn work(shared: Shared) -> turmoil::Result {
    while shared.ups.lock().unwrap().len() < AGENTS.len() {
        sleep(Duration::from_millis(10)).await;
    }
    let began = UnixMicros::now();
    *shared.work_began.lock().unwrap() = Some(began);
    shared.trace("the work begins");

    let mut api = shared.api("client");
    let mut ids = vec![None; shared.jobs.len()];
    let mut steps: Vec<(Duration, usize, bool)> = Vec::new();
    for (number, job) in shared.jobs.iter().enumerate() {
        steps.push((job.at, number, false));
        steps.extend(job.cancel_after.map(|after| (job.at + after, number, true)));
    }
    steps.sort();
    for (at, number, is_cancel) in steps {
        sleep(at.saturating_sub(UnixMicros::now().since(began))).await;
        if is_cancel {
            let id: Option<String> = ids[number].clone();
            let request = pb::CancelTaskRequest {
                id: id.expect("created before"),
                ..Default::default()
            };
            api.call(&request, async |mut client, request| client.cancel_task(request).await)
                .await;
            shared.trace(format_args!("task {number} is to be canceled"));
        } else {
            let request = shared.jobs[number].request(number);
            let answer = api
                .call(&request, async |mut client, request| client.create_task(request).await)
                .await;
            let id = answer.task.expect("a task was created").id;
            if number == 0 {
                *shared.first_task.lock().unwrap() = Some(id.clone());
            }
            ids[number] = Some(id);
            shared.trace(format_args!("task {number} is created"));
        }
    }

    for (number, id) in ids.into_iter().enumerate() {
        let request = pb::ListExecutionsRequest {
            task_id: id.expect("created before"),
            ..Default::default()
        };
        loop {
            let answer = api
                .call(&request, async |mut client, request| {
                    client.list_executions(request).await
                })
                .await;
            if answer.executions.iter().all(is_settled) {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        shared.trace(format_args!("task {number} has ended"));
    }
    while !*shared.faults_over.lock().unwrap() {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// At its end, and its output compared, if a runner produced any.
fn is_settled(execution: &pb::Execution) -> bool {
    let state = ExecutionState::try_from(execution.state()).expect("a known state");
    let ran = execution
        .outcome
        .as_ref()
        .is_some_and(|outcome| !outcome.streams.is_empty());
    state.is_terminal() && (execution.output_verified || !ran)
}

/// Watches the first task from wherever the last stream ended, and keeps every chunk that comes.
pub(crate) async fn watch(shared: Shared) -> turmoil::Result {
    let task_id = loop {
        if let Some(id) = shared.first_task.lock().unwrap().clone() {
            break id;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let mut api = shared.api("watcher");
    loop {
        let position = |(attempt_id, chunks): (&String, &Vec<pb::LogChunk>)| pb::AttemptPosition {
            attempt_id: attempt_id.clone(),
            next_seq: chunks.last().map_or(0, chunk::next_seq),
        };
        let positions = shared.watched.lock().unwrap().iter().map(position).collect();
        let request = pb::WatchTaskRequest {
            task_id: task_id.clone(),
            output: pb::OutputMode::Chunks.into(),
            positions,
            ..Default::default()
        };
        let mut stream = api
            .call(&request, async |mut client, request| client.watch_task(request).await)
            .await;
        shared.trace("the watcher watches");
        loop {
            // A heartbeat comes every 15 s.
            match timeout(Duration::from_secs(35), stream.message()).await {
                Ok(Ok(Some(pb::WatchTaskResponse { event: Some(event) }))) => {
                    if let pb::watch_task_response::Event::Chunk(chunk) = event {
                        let mut watched = shared.watched.lock().unwrap();
                        let chunks = watched.entry(chunk.attempt_id.clone()).or_default();
                        let next_seq = chunks.last().map_or(0, chunk::next_seq);
                        assert_eq!(chunk.first_seq, next_seq, "the watcher saw a gap or a repetition");
                        chunks.push(chunk);
                    }
                }
                Ok(Ok(Some(pb::WatchTaskResponse { event: None }))) => panic!("an event without content"),
                Ok(Ok(None)) => {
                    shared.trace("the watcher saw the end");
                    return Ok(());
                }
                Ok(Err(status)) if is_passing(&status) => break,
                Ok(Err(status)) => panic!("the cloud refused the watcher: {status:?}"),
                Err(_) => break,
            }
        }
        api.channel = None;
        sleep(PAUSE).await;
    }
}
