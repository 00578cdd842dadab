//! A store whose commits go wrong, what a death leaves of one, and changes behind the engine's back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};
use tokio::sync::watch;

use super::bench::{Bench, audit, soon};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
        record::{Execution, ExecutionWrite, Task, TaskFilter},
    },
    task::Config,
};

/// Holds answers of commits back, or loses them.
pub(super) struct Trouble {
    pub(super) open: watch::Sender<bool>,
    held: AtomicUsize,
    /// Answers of commits that still arrive before any gets lost.
    pub(super) spare: AtomicUsize,
    /// Answers of commits that get lost from now on.
    pub(super) lose: AtomicUsize,
    /// Writes of which nobody hears from now on, and which are not made, or not yet.
    pub(super) swallow: AtomicUsize,
}

impl Trouble {
    pub(super) fn new() -> (Arc<Self>, Store) {
        let (trouble, memory) = Self::with_memory();
        (trouble, Store::from(memory))
    }

    pub(super) fn with_memory() -> (Arc<Self>, MemoryStore) {
        let trouble = Arc::new(Self {
            open: watch::Sender::new(true),
            held: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            lose: AtomicUsize::new(0),
            swallow: AtomicUsize::new(0),
        });
        let memory = MemoryStore::with_faults(trouble.clone());
        (trouble, memory)
    }

    /// From now on commits are made, and nobody hears of it.
    pub(super) fn hold(&self) {
        self.open.send_replace(false);
    }

    pub(super) async fn until_held(&self) {
        let held = async {
            while self.held.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("a commit whose answer is held back", held).await;
    }
}

#[async_trait]
impl Faults for Trouble {
    async fn at(&self, point: Point) -> Result<()> {
        let take = |left: &AtomicUsize| {
            let less = |left: usize| left.checked_sub(1);
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
        };
        if point == Point::BeforeWrite && take(&self.swallow) {
            return Err(Error::maybe_done("no answer came"));
        }
        if point != Point::AfterCommit {
            return Ok(());
        }
        if !take(&self.spare) && take(&self.lose) {
            return Err(Error::maybe_done("the answer was lost"));
        }
        let mut open = self.open.subscribe();
        if !*open.borrow() {
            self.held.fetch_add(1, Ordering::SeqCst);
            open.wait_for(|open| *open).await.unwrap();
        }
        Ok(())
    }
}

/// What a cloud finds whose former process died now: whatever that had under way does not go on in here.
pub(super) fn left_by(memory: &MemoryStore) -> Store {
    let left = MemoryStore::new();
    left.restore(memory.snapshot());
    Store::from(left)
}

/// A cloud that looks often, and gives up whoever is not here.
pub(super) fn quick() -> Config {
    Config {
        reconcile_every: Duration::from_millis(20),
        return_within: Duration::ZERO,
        ..Config::default()
    }
}

/// Changes an execution behind the engine's back.
pub(super) async fn rewrite(bench: &Bench, task: &str, change: impl FnOnce(&mut Execution)) {
    let mut list = bench
        .store
        .execution_list(task.parse().unwrap(), None, 1)
        .await
        .unwrap();
    let mut after = list.remove(0);
    let before = (after.state, after.attempt_id);
    change(&mut after);
    let write = ExecutionWrite {
        before,
        after,
        output: None,
    };
    assert!(bench.store.execution_apply(vec![write], None).await.unwrap()[0].0);
}

/// Stores a task behind the engine's back, like another one that is there, queued for this agent.
pub(super) async fn store_queued(bench: &Bench, agent_id: AgentId, queue_deadline: Option<UnixMicros>) -> String {
    let filter = TaskFilter {
        limit: 1,
        ..TaskFilter::default()
    };
    let task = Task {
        id: TaskId::new(),
        queue_ttl_secs: Some(1),
        ..bench.store.task_list(filter).await.unwrap().remove(0)
    };
    let execution = Execution {
        task_id: task.id,
        agent_id,
        agent_name: "somebody".to_owned(),
        state: ExecutionState::Queued,
        attempt_id: None,
        attempt_number: 0,
        queue_deadline,
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        outcome: None,
        output_verified: false,
        revision: 0,
    };
    let id = task.id.to_string();
    bench.store.task_create(task, vec![execution], audit()).await.unwrap();
    id
}

/// Lets the time come for which rows of work of this kind wait. Returns their keys.
pub(super) async fn make_due(store: &Store, kind: &str) -> Vec<String> {
    let now = UnixMicros::now();
    let one_day = now.plus(Duration::from_secs(24 * 3_600));
    let claims = store
        .work_claim(&[kind], one_day, Duration::from_secs(1), 10)
        .await
        .unwrap();
    let keys = claims.iter().map(|claim| claim.key.clone()).collect();
    for claim in claims {
        store.work_again(claim, now).await.unwrap();
    }
    keys
}
