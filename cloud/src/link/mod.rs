//! The links: which agent is here, and how to reach it. Carries frames and reports; never imports the store.
//!
//! One agent has at most one link: a newer one supersedes the older, which gets a Drain and ends. What agents say is
//! reported in two queues, [`Inbox::reports`] and [`Inbox::chunks`]; a full queue is felt by the agents as HTTP/2 back
//! pressure, never as loss.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, Entry};
use futures::Stream;
use opslink::{
    id::{AgentId, AttemptId},
    pb,
    pb::attach_response::Frame,
    problem::Problem,
    reason::Reason,
    time::UnixMicros,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

mod budget;
mod copies;
mod generation;
mod lineage;
mod outbox;
mod report;
mod session;
mod share;
#[cfg(test)]
mod tests;

use generation::Generations;
use lineage::Lineages;
pub(crate) use lineage::Verdict;
pub use outbox::Order;
use outbox::{Frames, Outbox};
pub use report::Report;
pub(crate) use report::is_started;
pub(crate) use share::ChunkRoom;
use share::{Share, Shares};

/// Bytes of chunks that may wait for the store, of all agents together: bounds memory when the database is slow.
const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Chunks and reports that may wait, of all agents together.
const QUEUE_MAX: usize = 8_192;

/// What a link asks for and how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// Longest wait for the first frame.
    pub hello_timeout: Duration,
    /// Between two pings.
    pub heartbeat: Duration,
    /// Silences of one heartbeat until a link is dead.
    pub missed_max: u32,
    /// Raw bytes of chunks that an attempt may have under way.
    pub initial_credit_bytes: u64,
    /// Task frames that may wait for one agent.
    pub tasks_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
            missed_max: 3,
            // 32 full chunks: one half may wait for the store (see `share`) while the other is on its way.
            initial_credit_bytes: 8 << 20,
            // Twice the slots of an agent (see `task::Config`): all of them, and all of them once more after a doubt.
            tasks_max: 256,
        }
    }
}

/// A link that wants to come up.
#[derive(Debug)]
pub struct Arrival {
    /// Which agent, from its certificate.
    pub agent_id: AgentId,
    /// Address.
    pub peer: String,
    /// Its first frame; the version is agreed.
    pub hello: pb::Hello,
    /// In the order of the Hellos of all agents: a higher one knows better.
    pub number: u64,
    link: Arc<Link>,
    answer: oneshot::Sender<Result<Greeting, Problem>>,
}

impl Arrival {
    /// Says whether the agent has gone again meanwhile.
    pub fn is_over(&self) -> bool {
        self.link.stop.is_cancelled()
    }

    /// Answers: the link lives, or the call ends with the problem.
    pub fn answer(self, answer: Result<Greeting, Problem>) {
        // An error means that the agent has gone again.
        let _ = self.answer.send(answer);
    }
}

/// What the rest of the cloud has to say in the Welcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Greeting {
    /// Number of this link.
    pub session_epoch: u64,
    /// One per reported attempt.
    pub attempts: Vec<pb::AttemptWanted>,
}

/// A chunk on its way to the store.
#[derive(Debug)]
pub struct ChunkReport {
    /// Who sent it.
    pub agent_id: AgentId,
    /// Its attempt, parsed.
    pub attempt_id: AttemptId,
    /// As it came.
    pub chunk: pb::LogChunk,
    /// For as long as anything of it waits.
    pub(crate) room: ChunkRoom,
}

impl ChunkReport {
    /// What it takes in memory and on the wire, its end included.
    pub(crate) fn size(&self) -> usize {
        self.chunk.encoded_len()
    }
}

/// An agent's turn to be greeted.
struct GreetingTurn {
    links: Links,
    agent_id: AgentId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for GreetingTurn {
    fn drop(&mut self) {
        self.permit = None;
        // Nobody else waits for it: the map is as large as the number of agents that come right now.
        let turns = &self.links.0.greeting;
        turns.remove_if(&self.agent_id, |_, turns| Arc::strong_count(turns) == 1);
    }
}

/// Where the reports come out.
#[derive(Debug)]
pub struct Inbox {
    /// Everything but chunks.
    pub(crate) reports: mpsc::Receiver<Report>,
    /// Chunks.
    pub(crate) chunks: mpsc::Receiver<ChunkReport>,
}

/// One live link.
struct Link {
    agent_id: AgentId,
    outbox: Arc<Outbox>,
    /// Ends the reader.
    stop: CancellationToken,
    epoch: AtomicU64,
    /// Time of its last frame, in microseconds since 1970.
    last_frame: AtomicI64,
    share: Arc<Share>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("agent_id", &self.agent_id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Link {
    fn end(&self, why: Option<Problem>) {
        self.outbox.close(why);
        self.stop.cancel();
    }
}

/// All live links. Cheap to clone; every clone is the same registry.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    config: Config,
    table: DashMap<AgentId, Arc<Link>>,
    reports: mpsc::Sender<Report>,
    chunks: mpsc::Sender<ChunkReport>,
    room: Arc<Semaphore>,
    shares: Shares,
    lineages: Mutex<Lineages>,
    generations: Mutex<Generations>,
    /// Agents that are being greeted.
    greeting: DashMap<AgentId, Arc<Semaphore>>,
    arrivals: AtomicU64,
}

impl Links {
    /// Makes an empty registry and the place where its reports come out.
    pub fn new(config: Config) -> (Self, Inbox) {
        let (reports, reports_rx) = mpsc::channel(QUEUE_MAX);
        let (chunks, chunks_rx) = mpsc::channel(QUEUE_MAX);
        let room = Arc::new(Semaphore::new(CHUNK_BYTES_MAX));
        let inner = Inner {
            config,
            table: DashMap::new(),
            reports,
            chunks,
            room,
            shares: Shares::default(),
            lineages: Mutex::default(),
            generations: Mutex::default(),
            greeting: DashMap::new(),
            arrivals: AtomicU64::new(0),
        };
        (
            Self(Arc::new(inner)),
            Inbox {
                reports: reports_rx,
                chunks: chunks_rx,
            },
        )
    }

    /// Takes the stream of an agent: waits for its Hello, reports the arrival, answers with the frames to the agent.
    ///
    /// # Errors
    /// No Hello in time, no version in common, or what the answer to the arrival says.
    pub async fn attach<S>(
        &self,
        agent_id: AgentId,
        peer: String,
        inbound: S,
    ) -> Result<impl Stream<Item = Result<pb::AttachResponse, Problem>> + Send + 'static, Problem>
    where
        S: Stream<Item = Result<pb::AttachRequest, Status>> + Send + Unpin + 'static,
    {
        session::attach(self, agent_id, peer, inbound).await
    }

    /// Makes this the agent's one link; an older one is told to go. From here on tasks may be sent; they wait for
    /// the Welcome.
    pub fn admit(&self, arrival: &Arrival, epoch: u64) {
        arrival.link.epoch.store(epoch, Ordering::Relaxed);
        let old = match self.0.table.entry(arrival.agent_id) {
            // Two links of one agent may be admitted in either order: the higher number is the newer link.
            Entry::Occupied(entry) if entry.get().epoch.load(Ordering::Relaxed) > epoch => Some(arrival.link.clone()),
            Entry::Occupied(mut entry) => Some(entry.insert(arrival.link.clone())),
            Entry::Vacant(entry) => {
                entry.insert(arrival.link.clone());
                None
            }
        };
        if arrival.link.stop.is_cancelled() {
            // It went while the store was asked, and has found nothing to take out.
            self.forget(&arrival.link);
        }
        if let Some(old) = old {
            let problem = Problem::new(Reason::LinkSuperseded);
            old.outbox.control(Frame::Drain(pb::Drain {
                reason: problem.reason.code().into(),
                retry_after_ms: 0,
            }));
            old.end(Some(problem));
        }
    }

    /// Waits until no other link of this agent is being greeted.
    async fn greeting_turn(&self, agent_id: AgentId) -> GreetingTurn {
        let turns = {
            // Its lock is not held while this waits.
            let entry = self.0.greeting.entry(agent_id);
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(1))).value())
        };
        // Never closed, so the permit is always there.
        let permit = turns.acquire_owned().await.ok();
        GreetingTurn {
            links: self.clone(),
            agent_id,
            permit,
        }
    }

    /// Says whether the agent holds a link.
    pub fn is_live(&self, agent_id: AgentId) -> bool {
        self.0.table.contains_key(&agent_id)
    }

    /// Hellos so far.
    #[cfg(test)]
    pub(crate) fn arrivals(&self) -> u64 {
        self.0.arrivals.load(Ordering::Relaxed)
    }

    /// Says whether the agent holds a link that came up after the one of this epoch.
    pub fn has_newer(&self, agent_id: AgentId, epoch: u64) -> bool {
        let link = self.0.table.get(&agent_id);
        link.is_some_and(|link| link.epoch.load(Ordering::Relaxed) > epoch)
    }

    /// Number of live links.
    pub fn len(&self) -> usize {
        self.0.table.len()
    }

    /// Says whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.0.table.is_empty()
    }

    /// Hands a task to the agent's link; without one nothing happens, since the next attach finds it in the store.
    pub fn send_task(&self, agent_id: AgentId, order: Order) {
        if let Some(link) = self.get(agent_id) {
            link.outbox.task(order);
        }
    }

    /// Asks the agent to end an attempt.
    pub fn send_cancel(&self, agent_id: AgentId, attempt: AttemptId) {
        if let Some(link) = self.get(agent_id) {
            link.outbox.control(Frame::Cancel(pb::Cancel {
                attempt_id: attempt.to_string(),
            }));
        }
    }

    /// Tells the agent what is durable.
    pub fn send_ack(&self, agent_id: AgentId, attempt: AttemptId, next_seq: u64, archived: bool) {
        if let Some(link) = self.get(agent_id) {
            link.outbox.ack(attempt, next_seq, archived);
        }
    }

    /// Ends the agent's link, saying why.
    pub fn disconnect(&self, agent_id: AgentId, why: Problem) {
        if let Some(link) = self.get(agent_id) {
            tracing::warn!(%agent_id, %why, "link is closed by the cloud");
            link.end(Some(why));
        }
    }

    /// Asks all agents to come back later and ends their links: the cloud is about to end.
    pub fn drain(&self, retry_after: Duration) {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        let problem = Problem::new(Reason::Draining);
        for entry in &self.0.table {
            let reason = problem.reason.code().into();
            entry.outbox.control(Frame::Drain(pb::Drain { reason, retry_after_ms }));
            entry.end(Some(problem.clone()));
        }
    }

    /// Time of the last frame of every live link.
    pub fn last_frames(&self) -> Vec<(AgentId, UnixMicros)> {
        let time = |link: &Link| UnixMicros(link.last_frame.load(Ordering::Relaxed));
        self.0
            .table
            .iter()
            .map(|entry| (*entry.key(), time(entry.value())))
            .collect()
    }

    fn get(&self, agent_id: AgentId) -> Option<Arc<Link>> {
        self.0.table.get(&agent_id).map(|entry| entry.value().clone())
    }

    /// Takes a link out if it is still the agent's link; says whether it was.
    fn forget(&self, link: &Arc<Link>) -> bool {
        self.0
            .table
            .remove_if(&link.agent_id, |_, current| Arc::ptr_eq(current, link))
            .is_some()
    }
}
