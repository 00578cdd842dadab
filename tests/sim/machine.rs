//! The machine under an agent: its runners and its journal, which live on when the agent's process dies.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use fastrand::Rng;
use opslink::{id::AttemptId, pb};
use opslink_agent::{
    connections::Connections,
    executor::Executor,
    launch::{InProcess, Known, Launcher, Order, Phase, Refusal},
};
use tokio::sync::{mpsc, oneshot};

use crate::{plan::AGENTS, recorder::Recorder, shared::Shared, victims::Victims};

/// Deaths of one agent's process at a step of its launcher, at most.
const KILLS_MAX: u32 = 2;

type Start = (Order, oneshot::Sender<Result<(), Refusal>>);

/// One machine: the launcher of its agent, with the runners on a host of their own.
pub(crate) struct Machine {
    agent: &'static str,
    inner: InProcess,
    starts: mpsc::Sender<Start>,
    inbox: Mutex<Option<mpsc::Receiver<Start>>>,
    shared: Shared,
    victims: Victims,
    death: Mutex<Death>,
    /// Writes that there was no space for, when the disk was filled or emptied last.
    refused_before: AtomicU64,
}

/// When the agent's process dies.
struct Death {
    rng: Rng,
    per_thousand: u32,
    kills: u32,
}

impl Machine {
    /// Makes the machine of an agent.
    pub(crate) fn new(at: usize, shared: &Shared, victims: &Victims, seed: u64) -> Arc<Self> {
        let agent = AGENTS[at];
        let recorder = Recorder::new(agent, shared);
        let executors: Arc<[Box<dyn Executor>]> = Arc::from(vec![Box::new(recorder) as Box<dyn Executor>]);
        let (starts, inbox) = mpsc::channel(1_024);
        let death = Death {
            rng: Rng::with_seed(seed ^ (at as u64 + 1) << 32),
            per_thousand: shared.plan.agent_kills,
            kills: 0,
        };
        Arc::new(Self {
            agent,
            inner: InProcess::new(executors, Arc::new(Connections::default())),
            starts,
            inbox: Mutex::new(Some(inbox)),
            shared: shared.clone(),
            victims: victims.clone(),
            death: Mutex::new(death),
            refused_before: AtomicU64::new(0),
        })
    }

    /// Starts what the agent orders, here: what is spawned belongs to the caller's host.
    pub(crate) async fn work(self: Arc<Self>) {
        let mut inbox = self.inbox.lock().unwrap().take().expect("a machine works once");
        while let Some((order, answer)) = inbox.recv().await {
            let started = self.inner.start(order).await;
            // The agent may have died while it waited.
            answer.send(started).ok();
        }
    }

    /// Fills the disk, or makes room on it. Says whether a write found no space since this was done last.
    pub(crate) fn set_disk_full(&self, full: bool) -> bool {
        self.inner.set_disk_full(full);
        let refused = self.inner.writes_refused();
        refused > self.refused_before.swap(refused, Ordering::Relaxed)
    }

    /// Says whether the agent's process dies at this step.
    fn dies(&self) -> bool {
        let mut guard = self.death.lock().unwrap();
        let death = &mut *guard;
        if self.shared.is_over() || death.kills == KILLS_MAX || death.rng.u32(0..1_000) >= death.per_thousand {
            return false;
        }
        death.kills += 1;
        self.victims.kill(self.agent, "agent died at its launcher");
        true
    }
}

#[async_trait]
impl Launcher for Machine {
    fn known(&self) -> Vec<Known> {
        self.inner.known()
    }

    async fn start(&self, order: Order) -> Result<(), Refusal> {
        if self.dies() {
            return std::future::pending().await;
        }
        let (answer, answered) = oneshot::channel();
        self.starts.send((order, answer)).await.expect("the machine works");
        let answer = answered.await.expect("the machine answers");
        if self.dies() {
            return std::future::pending().await;
        }
        answer
    }

    fn cancel(&self, id: AttemptId) {
        self.dies();
        self.inner.cancel(id);
    }

    fn acknowledged(&self, id: AttemptId, next_seq: u64) {
        self.dies();
        self.inner.acknowledged(id, next_seq);
    }

    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        self.dies();
        self.inner.read(id, seq)
    }

    fn forget(&self, id: AttemptId) {
        self.dies();
        self.inner.forget(id);
    }

    async fn changed(&self) -> Vec<(AttemptId, Phase)> {
        self.inner.changed().await
    }
}
