//! Tasks: from a request to executions, and from their ends to the task's.
//!
//! [`machine`] decides, everything else carries out: [`submit`] creates, [`dispatch`] hands over, [`attach`] reconciles
//! with an agent that comes back, [`rollout`] spreads, [`cancel`] and [`retry`] do what they say, [`watch`] tells. All
//! changes of an execution go through [`commit`]: one step of the machine, one conditional write, and only then the
//! actions that follow.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    problem::Problem,
    reason::Reason,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::Directory,
    background, ingest,
    link::{self, Links},
    service::status::store_problem as problem,
    store::{self, Store},
    tail::Tails,
};

mod attach;
pub(crate) mod book;
mod cancel;
pub(crate) mod commit;
mod dispatch;
pub(crate) mod events;
mod log;
pub mod machine;
mod replays;
mod retry;
mod rollout;
mod signer;
mod submit;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
pub(crate) mod view;
mod watch;

use book::{Book, TaskInfo};
use replays::Replays;
pub use signer::{Error as SignerError, Signer};

/// Limits of the engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Attempts at work at the same time, per agent; the rest waits in the store.
    pub slots_per_agent: usize,
    /// Agents that are greeted, or whose queues are handed out, at the same time.
    pub concurrency: usize,
    /// Between two looks for what nobody woke us for.
    pub reconcile_every: Duration,
    /// Heartbeat of watches.
    pub watch_heartbeat: Duration,
    /// Of links.
    pub link: link::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots_per_agent: 64,
            concurrency: 64,
            reconcile_every: Duration::from_secs(10),
            watch_heartbeat: Duration::from_secs(15),
            link: link::Config::default(),
        }
    }
}

/// Everything about tasks. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// What an engine consists of; only this crate sees inside.
pub struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Directory,
    pub(crate) links: Links,
    pub(crate) signer: Arc<Signer>,
    pub(crate) tails: Tails,
    pub(crate) book: Book,
    replays: Replays,
    events: mpsc::Sender<events::Note>,
    /// Ended attempts whose output is to be compared with its digests.
    unverified: mpsc::Sender<AttemptId>,
    asked: verify::Asked,
    /// Tasks whose rollout has something to decide.
    rollouts: Mutex<BTreeSet<TaskId>>,
    rollout_due: Notify,
    gate: Arc<Semaphore>,
    stop: CancellationToken,
}

impl std::ops::Deref for Engine {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Ended attempts that may wait for their comparison; two words each.
const UNVERIFIED_MAX: usize = 65_536;

impl Engine {
    /// Starts the engine with its links and its background work; all of it stops with `stop`.
    ///
    /// Nothing is read from the store here: what is open is picked up agent by agent, as they attach.
    pub fn start(
        store: Arc<dyn Store>,
        directory: Directory,
        signer: Signer,
        config: Config,
        stop: CancellationToken,
    ) -> Self {
        let (links, inbox) = Links::new(config.link.clone());
        let (events, events_rx) = mpsc::channel(events::QUEUE_MAX);
        let (unverified, unverified_rx) = mpsc::channel(UNVERIFIED_MAX);
        let engine = Self(Arc::new(Inner {
            book: Book::new(config.slots_per_agent),
            replays: Replays::default(),
            gate: Arc::new(Semaphore::new(config.concurrency)),
            store,
            directory,
            links,
            signer: Arc::new(signer),
            tails: Tails::default(),
            events,
            unverified,
            asked: verify::Asked::default(),
            rollouts: Mutex::default(),
            rollout_due: Notify::new(),
            stop,
            config,
        }));
        // The road back: links → ingest → events. Each ends with `stop`; what is queued then is not acknowledged,
        // so the agents send it again.
        engine.spawn(ingest::run(engine.clone(), inbox.chunks));
        engine.spawn(attach::run(engine.clone(), inbox.reports));
        engine.spawn(events::run(engine.clone(), events_rx));
        // Beside the road.
        engine.spawn(rollout::run(engine.clone()));
        engine.spawn(verify::run(engine.clone(), unverified_rx));
        engine.spawn(background::expire_queues(engine.clone()));
        engine.spawn(background::write_signs_of_life(engine.clone()));
        engine
    }

    /// The links of all agents.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Ends what an agent that was just removed can no longer do, and its link.
    ///
    /// # Errors
    /// What the store says.
    pub async fn agent_removed(&self, agent: AgentId) -> Result<(), Problem> {
        self.links.disconnect(agent, Problem::new(Reason::CertificateRevoked));
        let open = self.store.execution_open(agent).await.map_err(problem)?;
        self.change_all(open, |_| vec![machine::Event::AgentRemoved])
            .await
            .map_err(problem)?;
        Ok(())
    }

    /// Runs `work` until it is done or the engine stops.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// What the executions of a task share, from memory or from the store.
    pub(crate) async fn info(&self, task: TaskId) -> store::Result<Arc<TaskInfo>> {
        if let Some(info) = self.book.info(task) {
            return Ok(info);
        }
        let stored = self.store.task_get(task).await?;
        let stored = stored.ok_or_else(|| store::Error::NotFound {
            what: "task",
            name: task.to_string(),
        })?;
        Ok(self.book.keep_info(TaskInfo::read(&stored)?))
    }

    /// The infos of the tasks of these executions.
    pub(crate) async fn infos(
        &self,
        tasks: impl Iterator<Item = TaskId>,
    ) -> store::Result<BTreeMap<TaskId, Arc<TaskInfo>>> {
        let mut infos = BTreeMap::new();
        for task in tasks {
            if let Entry::Vacant(place) = infos.entry(task) {
                place.insert(self.info(task).await?);
            }
        }
        Ok(infos)
    }

    /// Wakes the rollout of a task.
    pub(crate) fn wake_rollout(&self, task: TaskId) {
        self.rollouts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task);
        self.rollout_due.notify_one();
    }
}
