//! The entry of the runner process: `opslink-agent runner <attempt dir> --socket <path>`.
//!
//! It lives as long as its attempt, survives the agent, and holds no link credentials. What it costs to start is paid
//! by every task, so it is forked from a server that has done most of it ([`super::fork_server`]), and does nothing that
//! it need not: no logging, no TLS, no name resolution, one thread and a half.
//!
//! # Process tree
//! The runner is a *child subreaper*: whatever its child starts, forks twice or moves into another session stays a
//! descendant of the runner, and `/proc` shows it. A cgroup per attempt would tell the same at the price of two more
//! directory operations per task, needs a writable hierarchy that many hosts lack, and is therefore not used.

use std::{io, path::Path, sync::Arc, time::Duration};

use nix::{
    sys::prctl,
    unistd::{alarm, setsid},
};
use opslink::{
    kind::Needs,
    pb,
    reason::Reason,
    task::{Outcome, TaskSpec},
};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{
    disk_spool::{DEFAULT_QUOTA_BYTES, DiskSpool},
    drive::{Attempt, HARD_END_AFTER, drive_with_thread},
    socket::AgentSocket,
};
use crate::{
    connections::{self, Connections},
    crashpoint, executor,
    journal::{AttemptDir, Process},
    remains,
};

/// What the runner's own last word may be late.
const ALARM_AFTER: Duration = Duration::from_secs(10);

/// Why a runner could not do its job. The agent learns it from the exit code, and reports the attempt as lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The attempt's folder cannot be used.
    #[error("the attempt's folder cannot be used")]
    Journal(#[source] io::Error),
    /// The envelope in the folder is not one.
    #[error("the attempt's task is not an envelope")]
    Envelope(#[source] prost::DecodeError),
    /// An attempt starts at most once.
    #[error("the attempt has been started before")]
    StartedBefore,
    /// The last chunk could not be written.
    #[error("the end of the attempt could not be written to its journal")]
    NoEnd,
    /// The fork server's socket, or the pipe to a spare, is broken.
    #[error("the fork server has failed")]
    ForkServer(#[source] io::Error),
    /// The machine has no resources for an event loop.
    #[error("no event loop can be started")]
    Runtime(#[source] io::Error),
}

/// A runner that lacks only its attempt. Everything that needs no attempt is done here, ahead of it.
pub struct Runner {
    runtime: tokio::runtime::Runtime,
    process: Process,
}

impl Runner {
    /// Makes this process a runner.
    ///
    /// # Errors
    /// The machine has no resources for an event loop.
    pub fn prepare() -> Result<Self, Error> {
        // Fails when this process leads its session already, which is as good.
        setsid().ok();
        // Fails on kernels older than 3.4; then processes that fork twice are found by their session only.
        prctl::set_child_subreaper(true).ok();
        // For people who look at the machine's processes; the command line stays that of the server.
        prctl::set_name(c"opslink-runner").ok();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        Ok(Self {
            runtime,
            process: Process::current(),
        })
    }

    /// Runs the attempt in `dir` to its end. `socket` is the agent's.
    ///
    /// # Errors
    /// Only when nothing was started, or when the end could not be written.
    pub fn run(self, dir: &Path, socket: &Path) -> Result<(), Error> {
        let Self { runtime, process } = self;
        let attempt = AttemptDir::open(dir).map_err(Error::Journal)?;
        let (mut writer, record) = attempt.writer().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::StartedBefore,
            _ => Error::Journal(error),
        })?;
        let signed = pb::SignedEnvelope::decode(&*record.envelope).map_err(Error::Envelope)?;
        let envelope = pb::TaskEnvelope::decode(signed.body).map_err(Error::Envelope)?;
        crashpoint!("runner.locked");
        writer.started(process).map_err(Error::Journal)?;
        crashpoint!("runner.started");
        let spec = envelope.spec.clone().and_then(|spec| TaskSpec::try_from(spec).ok());
        if let Some(spec) = &spec {
            set_alarm(spec);
        }
        // A spec that makes no sense needs nothing: it is refused before anything runs.
        let needs = spec.map_or_else(Needs::default, |spec| spec.action.needs());
        let spool = DiskSpool::new(writer, attempt.scratch(), DEFAULT_QUOTA_BYTES);

        let ended = runtime.block_on(async {
            let cancel = CancellationToken::new();
            let agent = AgentSocket::start(socket, attempt.id(), Arc::clone(&spool), cancel.clone());
            if attempt.cancel_requested() {
                cancel.cancel();
            }
            let task = Attempt {
                envelope,
                permit: record.permit,
            };
            let outcome = run(task, needs, dir, Arc::clone(&spool), cancel).await;
            if outcome.reason == Reason::WorkLeft.code() {
                remains::kill_descendants();
            }
            crashpoint!("runner.end_appended");
            spool.ended(&outcome).map_err(Error::Journal)?;
            if spool.is_broken() {
                return Err(Error::NoEnd);
            }
            crashpoint!("runner.end_recorded");
            agent.ended().await;
            Ok(())
        });
        // A call that still blocks is not waited for: it ends with this process.
        runtime.shutdown_background();
        ended
    }
}

/// Lets the kernel end this process should a call block its one thread beyond every limit: nothing else could then. Off as
/// soon as the executor has come back.
fn set_alarm(spec: &TaskSpec) {
    let latest = spec
        .timeout
        .saturating_add(spec.grace)
        .saturating_add(HARD_END_AFTER + ALARM_AFTER);
    alarm::set(u32::try_from(latest.as_secs()).unwrap_or(u32::MAX));
}

async fn run(attempt: Attempt, needs: Needs, dir: &Path, spool: Arc<DiskSpool>, cancel: CancellationToken) -> Outcome {
    let connections = Arc::new(connections(needs, dir));
    drive_with_thread(attempt, &executor::all(), connections, spool, cancel).await
}

/// Reads the connections only for tasks that use them. A file that cannot be used is told to the task that needs it.
fn connections(needs: Needs, dir: &Path) -> Connections {
    match dir.ancestors().nth(2) {
        Some(state) if needs.connections => {
            Connections::load(&state.join(connections::FILE_NAME)).unwrap_or_else(|error| Connections::broken(&error))
        }
        Some(_) | None => Connections::default(),
    }
}
