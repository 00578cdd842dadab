//! Executors: what an agent can do. One folder each, and one line in [`all`].
//!
//! An executor sees its own spec, its [`Context`], and nothing else: no link, no journal, no other attempt, no other kind.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    event::Event,
    kind::{Action, Kind},
    reason::Reason,
    task::ExecutionState,
};
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;

#[cfg(test)]
mod conformance;
mod fake;
mod shell;
mod sql;

pub(crate) use shell::interpreter_of;

/// Reason of a [`Failure`] that says: canceled, and something of the work could still not be ended. The runner never
/// reports such an attempt as canceled.
pub const PROCESSES_LEFT: &str = Reason::ProcessesLeft.code();

/// The same for a statement that a database may still run.
pub const STATEMENT_LEFT: &str = Reason::StatementLeft.code();

/// Every executor of this agent: the one list.
pub fn all() -> Vec<Box<dyn Executor>> {
    vec![Box::new(shell::Shell), Box::new(sql::Sql), Box::new(fake::Fake)]
}

/// The contract of every executor, as whoever runs it sees it. An executor is written as a [`KindExecutor`].
#[async_trait]
pub trait Executor: Send + Sync {
    /// The word for it in tasks, capabilities, policies and the command line.
    fn kind(&self) -> &'static str;

    /// Says whether it works on this machine, and if not, why. No side effects.
    fn health(&self) -> Health;

    /// Checks an action without doing anything.
    ///
    /// # Errors
    /// What is wrong with it, with a stable reason.
    fn validate(&self, action: &Action) -> Result<(), Failure>;

    /// Does the work. Output goes to the sink as it appears.
    ///
    /// A non-zero exit code or a failed statement is a [`Finish`]; an `Err` means that the executor itself could not
    /// do its job. The runner adds the End event, the times and the digests.
    ///
    /// # Cancel
    /// When `ctx.cancel` fires (somebody asked, or the deadline passed) the executor ends what it started: softly at
    /// first, for good after `ctx.grace`, and returns only when nothing of it is left.
    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure>;
}

/// An executor of one kind: it is given the specs of its kind only. The methods are those of [`Executor`].
#[async_trait]
pub trait KindExecutor: Send + Sync {
    /// What it carries out.
    type Spec: Kind + Send + Sync + 'static;

    /// Says whether it works on this machine, and if not, why. No side effects.
    fn health(&self) -> Health {
        Health::Healthy
    }

    /// Checks what a spec does not hold by its construction, without doing anything.
    ///
    /// # Errors
    /// What is wrong with it, with a stable reason.
    fn validate(&self, _spec: &Self::Spec) -> Result<(), Failure> {
        Ok(())
    }

    /// Does the work, see [`Executor::run`].
    async fn run(&self, spec: &Self::Spec, ctx: &Context) -> Result<Finish, Failure>;
}

#[async_trait]
impl<E: KindExecutor> Executor for E {
    fn kind(&self) -> &'static str {
        <E::Spec as Kind>::NAME
    }

    fn health(&self) -> Health {
        KindExecutor::health(self)
    }

    fn validate(&self, action: &Action) -> Result<(), Failure> {
        KindExecutor::validate(self, own::<E::Spec>(action)?)
    }

    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        KindExecutor::run(self, own::<E::Spec>(action)?, ctx).await
    }
}

/// The spec of a kind; a failure when the action is of another one.
fn own<K: Kind>(action: &Action) -> Result<&K, Failure> {
    K::of(action).ok_or_else(|| {
        let message = format!("the {} executor was given a {} task", K::NAME, action.kind());
        Failure::new(Reason::Internal.code(), message)
    })
}

/// Whether an executor works on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Healthy,
    /// No, and why.
    Absent(String),
}

/// What an executor gets beside its spec.
#[derive(Clone)]
pub struct Context {
    /// Where output goes.
    pub sink: Arc<dyn Sink>,
    /// Fires when the work shall end.
    pub cancel: CancellationToken,
    /// Soft end to hard end.
    pub grace: Duration,
    /// A folder for the executor's own files; removed after the attempt.
    pub scratch: PathBuf,
    /// Named endpoints of this machine, with their credentials.
    pub connections: Arc<Connections>,
    /// See [`Settled`].
    pub settled: Settled,
    /// For processes that it starts.
    pub setting: Setting,
}

/// What the processes of an attempt are started with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// The task, for its environment.
    pub task_id: String,
    /// The attempt, likewise: it marks its processes.
    pub attempt_id: String,
    /// The one file that may be executed; absent when any may.
    pub program: Option<PathBuf>,
    /// Variables of the agent's own environment that they get, as globs, beside those that all get.
    pub inherit: Vec<String>,
}

impl Context {
    /// Makes the scratch folder, for its owner only, when it is not there yet.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn make_scratch(&self) -> io::Result<&Path> {
        match fs::DirBuilder::new().mode(0o700).create(&self.scratch) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(&self.scratch),
        }
    }
}

/// Set by an executor when its work has ended by itself and only output is left to deliver. A deadline or a cancel
/// that comes later no longer changes the outcome: an earlier real end wins.
#[derive(Debug, Clone, Default)]
pub struct Settled(CancellationToken);

impl Settled {
    /// Says that the work is over.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Whether the work is over.
    pub fn get(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the work is over.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// Where an executor's output goes. Blocks (asynchronously or not) while the spool is full: output is never dropped.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one event. Cheap for small events; may wait for space.
    async fn emit(&self, event: Event);

    /// The same for a thread that reads a pipe: blocks the thread.
    fn emit_blocking(&self, event: Event);

    /// Closes the chunk that is being filled, so that it leaves at once.
    fn flush(&self);
}

/// How the work ended, as the executor saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// `Succeeded` or `Failed`; the runner turns it into `TimedOut` or `Canceled` when it asked for the end. `Lost` when
    /// the outcome cannot be known, and that stays.
    pub state: ExecutionState,
    /// Exit code of the main process.
    pub exit_code: Option<i32>,
    /// Signal that ended the main process.
    pub signal: Option<i32>,
    /// UPPER_SNAKE reason; empty on success.
    pub reason: String,
    /// One sentence for people; empty on success.
    pub message: String,
}

impl Finish {
    /// It ended well.
    pub fn succeeded(exit_code: Option<i32>) -> Self {
        Self {
            state: ExecutionState::Succeeded,
            exit_code,
            signal: None,
            reason: String::new(),
            message: String::new(),
        }
    }
}

/// Why an executor could not do its job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// UPPER_SNAKE reason from the catalogue.
    pub reason: &'static str,
    /// What, why, and what to do, in one or two sentences.
    pub message: String,
}

impl Failure {
    /// Makes one.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
