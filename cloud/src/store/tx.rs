//! The store's handle, and the transaction in which several changes are made or none.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{
    Error, Result,
    memory::{MemoryStore, State},
    sql::{Failure, Outcome, SqlStore},
};

/// Everything that outlives the process. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<Engine>,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) enum Engine {
    /// SQLite or PostgreSQL.
    Sql(Box<SqlStore>),
    /// Maps.
    Memory(MemoryStore),
}

/// What runs in a transaction, on owned input that is lent to it: it may be run again from the start, when the database
/// says that it lost a race, and goes on when its caller goes away.
pub type Operation<I, T> = for<'a> fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T>>;

impl From<MemoryStore> for Store {
    fn from(memory: MemoryStore) -> Self {
        Self {
            engine: Arc::new(Engine::Memory(memory)),
        }
    }
}

impl From<SqlStore> for Store {
    fn from(sql: SqlStore) -> Self {
        Self {
            engine: Arc::new(Engine::Sql(Box::new(sql))),
        }
    }
}

impl Store {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same store for what callers ask: its reads have connections of their own, so that no number of lists and
    /// watches keeps the reads of the engine waiting. What is written through either is seen through both.
    #[must_use]
    pub fn for_callers(&self) -> Self {
        match self.engine() {
            Engine::Sql(sql) => Self::from(sql.for_callers()),
            Engine::Memory(_) => self.clone(),
        }
    }

    /// Cheap round trip to the database, for health.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ping(&self) -> Result<()> {
        match self.engine() {
            Engine::Sql(sql) => sql.ping().await,
            Engine::Memory(memory) => memory.read("ping", |_| ()).await,
        }
    }

    /// Runs `operation` in one transaction; returns after its commit, or with nothing changed (but see
    /// [`Error::Unavailable`]).
    ///
    /// `operation` waits for nothing but methods of its [`Tx`], and has no other effect: it may be run again. It goes on
    /// when the caller goes away.
    ///
    /// # Errors
    /// What `operation` returns, and what the database says about the commit.
    pub async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        match self.engine() {
            Engine::Sql(sql) => sql.main.write(input, operation).await,
            Engine::Memory(memory) => memory.write(input, operation).await,
        }
    }
}

/// A transaction that is going on. Its methods have the names of those of [`Store`]; they see each other's changes, and
/// nobody else does before the end. Once one of them has failed, nothing of the transaction is kept.
#[derive(Debug)]
pub struct Tx {
    engine: TxEngine,
    failed: AtomicBool,
    /// The first thing that the database itself refused.
    refusal: OnceLock<DbErr>,
}

#[derive(Debug)]
pub(super) enum TxEngine {
    Sql(DatabaseTransaction),
    /// Nobody else waits for this lock: it only lends the state to one method after the other.
    Memory(Box<Mutex<State>>),
}

impl Tx {
    pub(super) fn sql(tx: DatabaseTransaction) -> Self {
        Self::new(TxEngine::Sql(tx))
    }

    pub(super) fn memory(state: State) -> Self {
        Self::new(TxEngine::Memory(Box::new(Mutex::new(state))))
    }

    const fn new(engine: TxEngine) -> Self {
        Self {
            engine,
            failed: AtomicBool::new(false),
            refusal: OnceLock::new(),
        }
    }

    pub(super) const fn engine(&self) -> &TxEngine {
        &self.engine
    }

    pub(super) fn into_engine(self) -> TxEngine {
        self.engine
    }

    /// Passes on what a method says, and keeps in mind whether the transaction can still be committed.
    pub(super) fn noted<T>(&self, outcome: Outcome<T>) -> Result<T> {
        outcome.map_err(|failure| {
            self.failed.store(true, Ordering::Relaxed);
            match failure {
                Failure::Db(error) => {
                    let described = super::sql::describe(&error);
                    // Only the first is the cause; what comes later is its consequence.
                    let _ = self.refusal.set(error);
                    described
                }
                Failure::Store(error) => error,
            }
        })
    }

    /// What the operation came to: its value may be committed, or the transaction is to be undone.
    pub(super) fn verdict<T>(&mut self, result: Result<T>) -> Outcome<T> {
        if let Some(error) = self.refusal.take() {
            return Err(Failure::Db(error));
        }
        if self.failed.load(Ordering::Relaxed) && result.is_ok() {
            let message = "a step of a transaction failed and was passed over";
            return Err(Failure::Store(Error::unavailable(message)));
        }
        result.map_err(Failure::Store)
    }
}

/// Takes the lock of a state that nobody else wants.
pub(super) fn lent(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Declares what reads, once for [`Store`] and for [`Tx`]. `sql` and the methods of `State` do it, under the same name.
macro_rules! reads {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $answer:ty;)*) => {
        impl $crate::store::Store {
            $($(#[$doc])*
            ///
            /// # Errors
            /// The database is away, or a row cannot be read.
            pub async fn $name(&self, $($arg: $ty),*) -> $crate::store::Result<$answer> {
                match self.engine() {
                    $crate::store::tx::Engine::Sql(engine) => Ok(sql::$name(engine.main.read(), $($arg),*).await?),
                    $crate::store::tx::Engine::Memory(memory) => {
                        memory.read(stringify!($name), |state| state.$name($($arg),*)).await
                    }
                }
            })*
        }

        impl $crate::store::Tx {
            $($(#[$doc])*
            ///
            /// # Errors
            /// The database is away, or a row cannot be read.
            pub async fn $name(&self, $($arg: $ty),*) -> $crate::store::Result<$answer> {
                match self.engine() {
                    $crate::store::tx::TxEngine::Sql(tx) => self.noted(sql::$name(tx, $($arg),*).await),
                    $crate::store::tx::TxEngine::Memory(state) => {
                        Ok($crate::store::tx::lent(state).$name($($arg),*))
                    }
                }
            })*
        }
    };
}

/// Declares what changes something inside of a transaction.
macro_rules! tx_writes {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $answer:ty;)*) => {
        impl $crate::store::Tx {
            $($(#[$doc])*
            ///
            /// # Errors
            /// As described, or the database is away; then nothing of the transaction is kept.
            #[allow(clippy::ptr_arg, reason = "what is lent is what the other method takes")]
            pub async fn $name(&self, $($arg: &$ty),*) -> $crate::store::Result<$answer> {
                match self.engine() {
                    $crate::store::tx::TxEngine::Sql(tx) => self.noted(sql::$name(tx, $($arg),*).await),
                    $crate::store::tx::TxEngine::Memory(state) => {
                        let answer = $crate::store::tx::lent(state).$name($($arg),*);
                        self.noted(answer.map_err($crate::store::sql::Failure::Store))
                    }
                }
            })*
        }
    };
}

/// Declares what changes something, once for [`Tx`] (arguments are lent) and for [`Store`] (a transaction of its own,
/// arguments are given).
macro_rules! writes {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $answer:ty;)*) => {
        impl $crate::store::Store {
            $($(#[$doc])*
            ///
            /// # Errors
            /// As described, or the database is away.
            pub async fn $name(&self, $($arg: $ty),*) -> $crate::store::Result<$answer> {
                self.write(($($arg,)*), |tx, ($($arg,)*)| Box::pin(tx.$name($($arg),*))).await
            })*
        }

        $crate::store::tx::tx_writes! { $($(#[$doc])* fn $name($($arg: $ty),*) -> $answer;)* }
    };
}

pub(super) use {reads, tx_writes, writes};
