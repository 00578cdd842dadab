//! The machine under an agent: its runners and its journal, which live on when the agent's process dies.

use std::{
    io,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, task::Action, task::FakeStep};
use opslink_agent::{
    connections::Connections,
    executor::{self, Context, Executor, Failure, Finish, Health},
    launch::{InProcess, Known, Launcher, Order, Phase, Refusal},
};
use tokio::sync::{mpsc, oneshot};

use crate::world::Shared;

type Start = (Order, oneshot::Sender<Result<(), Refusal>>);

/// One machine: the launcher of its agent, with the runners on a host of their own.
pub(crate) struct Machine {
    inner: InProcess,
    starts: mpsc::Sender<Start>,
    inbox: Mutex<Option<mpsc::Receiver<Start>>>,
}

impl Machine {
    /// Makes the machine of an agent.
    pub(crate) fn new(agent: &'static str, shared: &Shared) -> Arc<Self> {
        let fake = executor::all().into_iter().find(|executor| executor.kind() == "fake");
        let counting = Counting {
            inner: fake.expect("there is a fake executor"),
            agent,
            shared: shared.clone(),
        };
        let executors: Arc<[Box<dyn Executor>]> = Arc::from(vec![Box::new(counting) as Box<dyn Executor>]);
        let (starts, inbox) = mpsc::channel(1_024);
        Arc::new(Self {
            inner: InProcess::new(executors, Arc::new(Connections::default())),
            starts,
            inbox: Mutex::new(Some(inbox)),
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
}

#[async_trait]
impl Launcher for Machine {
    fn known(&self) -> Vec<Known> {
        self.inner.known()
    }

    async fn start(&self, order: Order) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        self.starts.send((order, answer)).await.expect("the machine works");
        answered.await.expect("the machine answers")
    }

    fn cancel(&self, id: AttemptId) {
        self.inner.cancel(id);
    }

    fn acknowledged(&self, id: AttemptId, next_seq: u64) {
        self.inner.acknowledged(id, next_seq);
    }

    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        self.inner.read(id, seq)
    }

    fn forget(&self, id: AttemptId) {
        self.inner.forget(id);
    }

    async fn changed(&self) -> Vec<(AttemptId, Phase)> {
        self.inner.changed().await
    }
}

/// The fake executor, which says when it starts something.
struct Counting {
    inner: Box<dyn Executor>,
    agent: &'static str,
    shared: Shared,
}

#[async_trait]
impl Executor for Counting {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn validate(&self, action: &Action) -> Result<(), Failure> {
        self.inner.validate(action)
    }

    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        let Action::Fake(fake) = action else {
            panic!("only fakes are sent")
        };
        let Some(FakeStep::Stdout(marker)) = fake.steps.first() else {
            panic!("every task begins with its marker")
        };
        self.shared
            .started(String::from_utf8_lossy(marker).into_owned(), self.agent);
        self.inner.run(action, ctx).await
    }
}
