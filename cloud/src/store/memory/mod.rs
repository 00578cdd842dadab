//! The store in maps, for the simulation and for unit tests: deterministic, nothing survives the process.
//!
//! One mutex around one [`State`], never held across an await: a transaction is one atomic step, taken back as a whole
//! when it fails. Where the other engines wait, this one calls its [`Faults`], if it has some: before a read, before a
//! transaction, after a commit; and they may keep it from reading a row, see `damage.rs`. Only ordered maps: two runs with
//! the same calls give the same answers in the same order.
//! The rules live in the `memory` of each resource.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use opslink::id::{AgentId, AttemptId, TaskId, TokenId, UserId};

use super::{Error, Operation, Result, Tx, record::*, tx::TxEngine, work::memory::WorkRow};

mod damage;
mod faults;
mod table;

use faults::Rows;
pub use faults::{Faults, Point};
pub(super) use table::Table;

/// The store of the simulation and of unit tests. Cheap to clone; all clones are one store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    faults: Option<Arc<dyn Faults>>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

/// Everything that a store held at some moment.
#[derive(Debug, Clone)]
pub struct Snapshot(State);

impl MemoryStore {
    /// Makes an empty store that never waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty store that asks `faults` wherever another engine would wait.
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self {
            faults: Some(faults),
            ..Self::default()
        }
    }

    /// Copies everything.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().clone())
    }

    /// Puts back what was there when the snapshot was taken, as after a failover to a copy that was behind.
    pub fn restore(&self, Snapshot(state): Snapshot) {
        *self.lock() = state;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can only come from a bug in the store; the maps are still the best truth.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn at(&self, point: Point) -> Result<()> {
        match &self.faults {
            Some(faults) => faults.at(point).await,
            None => Ok(()),
        }
    }

    pub(super) async fn read<T: Rows>(&self, name: &'static str, read: impl FnOnce(&State) -> T) -> Result<T> {
        self.at(Point::Read).await?;
        let answer = self.look(read)?;
        if let Some(faults) = &self.faults {
            faults.answered(name, answer.rows());
        }
        Ok(answer)
    }

    pub(super) async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        if self.faults.is_none() {
            return self.transact(&input, operation);
        }
        // As with the other engines, whoever asked may go away, and the write goes on.
        let store = self.clone();
        let write = tokio::spawn(async move {
            store.at(Point::BeforeWrite).await?;
            let value = store.transact(&input, operation)?;
            store.at(Point::AfterCommit).await?;
            Ok(value)
        });
        write.await.unwrap_or_else(|error| Err(Error::maybe_done(error)))
    }

    fn transact<I, T>(&self, input: &I, operation: Operation<I, T>) -> Result<T> {
        let mut place = self.lock();
        let damaged = self.take_out(&mut place);
        let mut tx = Tx::memory(std::mem::take(&mut *place));
        // Nothing in here waits, so one look at the future is enough, and nobody sees the middle of it.
        let result = operation(&tx, input).now_or_never();
        let result = result.unwrap_or_else(|| {
            let message = "a transaction waited for something else than the store";
            Err(Error::unavailable(message))
        });
        let verdict = tx.verdict(result);
        if let TxEngine::Memory(state) = tx.into_engine() {
            *place = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        }
        match verdict {
            Ok(value) => {
                if let Some((key, execution)) = damaged {
                    place.executions.insert(key, execution);
                }
                place.commit();
                Ok(value)
            }
            Err(failure) => {
                place.undo();
                Err(self.why(Error::from(failure), damaged.map(|(key, _)| key)))
            }
        }
    }
}

macro_rules! state {
    ($($(#[$doc:meta])* $table:ident: $key:ty => $row:ty,)*) => {
        /// Everything there is.
        #[derive(Debug, Clone, Default)]
        pub(super) struct State {
            $($(#[$doc])* pub(super) $table: Table<$key, $row>,)*
        }

        impl State {
            fn commit(&mut self) {
                $(self.$table.commit();)*
            }

            fn undo(&mut self) {
                $(self.$table.undo();)*
            }
        }
    };
}

state! {
    settings: String => Vec<u8>,
    users: UserId => User,
    sessions: Vec<u8> => Session,
    tokens: TokenId => Token,
    join_tokens: TokenId => JoinToken,
    agents: AgentId => Agent,
    presences: AgentId => Presence,
    quarantines: AgentId => Quarantine,
    login_limits: String => LoginLimit,
    tasks: TaskId => Task,
    /// The last revision of each task.
    revisions: TaskId => u64,
    executions: (TaskId, AgentId) => Execution,
    attempts: AttemptId => Attempt,
    chunks: (AttemptId, u64) => Chunk,
    work: (String, String) => WorkRow,
    audit: i64 => AuditRow,
}
