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

use std::{io, path::Path, sync::Arc};

use nix::{sys::prctl, unistd::setsid};
use opslink::{pb, task::Outcome};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{
    disk_spool::{DEFAULT_QUOTA_BYTES, DiskSpool},
    drive::drive_with_thread,
    socket::AgentSocket,
};
use crate::{
    connections::{self, Connections},
    executor,
    journal::{AttemptDir, Process},
};

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
        let attempt = AttemptDir::open(dir).map_err(Error::Journal)?;
        let (mut writer, record) = attempt.writer().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::StartedBefore,
            _ => Error::Journal(error),
        })?;
        let signed = pb::SignedEnvelope::decode(&*record.envelope).map_err(Error::Envelope)?;
        let envelope = pb::TaskEnvelope::decode(signed.body).map_err(Error::Envelope)?;
        writer.started(self.process).map_err(Error::Journal)?;
        let spool = DiskSpool::new(writer, attempt.scratch(), DEFAULT_QUOTA_BYTES);

        let outcome = self.runtime.block_on(async {
            let cancel = CancellationToken::new();
            let agent = AgentSocket::start(socket, attempt.id(), Arc::clone(&spool), cancel.clone());
            if attempt.cancel_requested() {
                cancel.cancel();
            }
            let outcome = run(envelope, dir, Arc::clone(&spool), cancel).await;
            let recorded = spool.ended(&outcome);
            agent.ended().await;
            recorded.map(|()| outcome).map_err(Error::Journal)
        });
        outcome.map(drop)
    }
}

async fn run(envelope: pb::TaskEnvelope, dir: &Path, spool: Arc<DiskSpool>, cancel: CancellationToken) -> Outcome {
    let connections = Arc::new(connections(&envelope, dir));
    drive_with_thread(envelope, &executor::all(), connections, spool, cancel).await
}

/// Reads the connections only for tasks that use them. A file that cannot be read is as good as none: the agent has
/// said so when it started, and the executor says which connection is missing.
fn connections(envelope: &pb::TaskEnvelope, dir: &Path) -> Connections {
    let action = envelope.spec.as_ref().and_then(|spec| spec.action.as_ref());
    match (action, dir.ancestors().nth(2)) {
        (Some(pb::task_spec::Action::Sql(_)), Some(state)) => {
            Connections::load(&state.join(connections::FILE_NAME)).unwrap_or_default()
        }
        _ => Connections::default(),
    }
}
