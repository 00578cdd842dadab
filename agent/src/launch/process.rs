//! One runner process per attempt, with its journal on disk. Runners outlive the agent; the next agent adopts them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::OpenOptions,
    io,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use prost::Message;
use tokio::{process::Child, sync::Notify, task::JoinHandle};

use super::{Known, Launcher, Notices, Order, Phase, Refusal, slot::Slot, socket};
use crate::{
    config::StateDir,
    crashpoint,
    journal::{AttemptDir, Closing, Fence, Recovery, close_if_orphaned, recover},
    link::EXPIRY_TOLERANCE,
};

/// How often the agent looks whether a runner that it cannot hear still lives.
const ORPHAN_CHECK_EVERY: Duration = Duration::from_millis(500);

/// Runs attempts as processes of their own.
pub struct ProcessLauncher {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What the launcher, its socket and its watchers have in common.
pub(super) struct Shared {
    attempts: PathBuf,
    socket: PathBuf,
    program: PathBuf,
    slots: Mutex<BTreeMap<AttemptId, Slot>>,
    fence: Mutex<Fence>,
    notices: Notices,
    /// Fires when there may be something to tell a runner.
    pub wake_runners: Notify,
}

impl ProcessLauncher {
    /// Recovers the journal and listens for runners. `program` is this agent's own executable.
    ///
    /// # Errors
    /// Those of the disk and of the socket.
    pub fn open(state: &StateDir, program: PathBuf) -> io::Result<Self> {
        let fence = Fence::open(&state.fence(), UnixMicros::now())?;
        let found = recover(&state.attempts(), |path, error| {
            tracing::warn!(path = %path.display(), %error, "an attempt's folder cannot be read and is left alone");
        })?;
        let mut slots = BTreeMap::new();
        let mut running = Vec::new();
        for recovered in found {
            let id = recovered.dir.id();
            let phase = match recovered.recovery {
                Recovery::Running => {
                    running.push(id);
                    Phase::Running
                }
                Recovery::Ended => Phase::Ended,
            };
            slots.insert(id, Slot::new(recovered.dir, phase));
        }
        let shared = Arc::new(Shared {
            attempts: state.attempts(),
            socket: state.socket(),
            program,
            slots: Mutex::new(slots),
            fence: Mutex::new(fence),
            notices: Notices::default(),
            wake_runners: Notify::new(),
        });
        let listener = socket::bind(&state.socket())?;
        // Stopped when the launcher is dropped; runners redial the next agent.
        let server = tokio::spawn(socket::serve(listener, Arc::clone(&shared)));
        for id in running {
            Shared::watch(&shared, id);
        }
        Ok(Self { shared, server })
    }
}

impl Drop for ProcessLauncher {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    fn known(&self) -> Vec<Known> {
        let mut slots = self.shared.slots();
        let known = slots.iter_mut().map(|(id, slot)| Known {
            id: *id,
            phase: slot.phase,
            next_seq: slot.journal_end(),
        });
        known.collect()
    }

    async fn start(&self, order: Order) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let id = order.id;
        // fsync and spawn block: they get a thread, so that the link goes on.
        let started = tokio::task::spawn_blocking(move || shared.start(&order));
        let child = started.await.map_err(|error| unstartable(format!("{error}")))??;
        let shared = Arc::clone(&self.shared);
        // Lives as long as the runner; reaps it, and closes its journal if it could not do so itself.
        tokio::spawn(async move {
            reap(child).await;
            if !shared.has_ended(id) {
                Shared::close(&shared, id).await;
            }
        });
        Ok(())
    }

    fn cancel(&self, id: AttemptId) {
        let mut slots = self.shared.slots();
        if let Some(slot) = slots.get_mut(&id)
            && !slot.cancel
            && slot.phase != Phase::Ended
        {
            slot.cancel = true;
            if let Err(error) = slot.dir.request_cancel() {
                tracing::warn!(attempt = %id, %error, "a cancel could not be written down");
            }
        }
        drop(slots);
        self.shared.wake_runners.notify_waiters();
    }

    fn acknowledged(&self, id: AttemptId, next_seq: u64) {
        let mut slots = self.shared.slots();
        let Some(slot) = slots.get_mut(&id) else { return };
        slot.acknowledged = slot.acknowledged.max(next_seq);
        let listening = slot.connections > 0;
        drop(slots);
        if listening {
            self.shared.wake_runners.notify_waiters();
        }
    }

    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        let mut slots = self.shared.slots();
        slots.get_mut(&id).map_or(Ok(None), |slot| slot.read(seq))
    }

    fn forget(&self, id: AttemptId) {
        let Some(slot) = self.shared.slots().remove(&id) else {
            return;
        };
        self.shared.wake_runners.notify_waiters();
        let shared = Arc::clone(&self.shared);
        // Short disk work that nobody waits for; after a crash the cloud says `archived` again.
        tokio::task::spawn_blocking(move || {
            crashpoint!("after_ack_before_delete");
            if let Err(error) = shared.remember_and_remove(&slot.dir) {
                tracing::warn!(attempt = %slot.dir.id(), %error, "an archived attempt could not be removed");
            }
        });
    }

    async fn changed(&self) -> Vec<(AttemptId, Phase)> {
        self.shared.notices.take().await
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, order: &Order) -> Result<Child, Refusal> {
        let dir = AttemptDir::create(&self.attempts, order.id, &order.signed).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => replayed(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal {
                reason: Reason::DiskFull.code(),
                message: "no space is left for the agent's journal".to_owned(),
            },
            _ => unstartable(format!("the journal cannot be written: {error}")),
        })?;
        // Asked after the folder was made: a folder that is just being forgotten is in the fence before it goes.
        if self
            .fence
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .holds(order.id)
        {
            dir.remove().ok();
            return Err(replayed());
        }
        crashpoint!("after_journal_create");
        self.slots().insert(order.id, Slot::new(dir.clone(), Phase::Running));
        match self.spawn(&dir) {
            Ok(child) => {
                crashpoint!("after_launch_before_accepted");
                Ok(child)
            }
            Err(error) => {
                // Nothing ran: leave no trace, so that the refusal is the whole truth.
                self.slots().remove(&order.id);
                dir.remove().ok();
                Err(unstartable(format!("the runner cannot be started: {error}")))
            }
        }
    }

    /// No `pre_exec`, no uid: the standard library then uses posix_spawn, whose cost does not grow with this process.
    /// The runner detaches itself into its own session.
    fn spawn(&self, dir: &AttemptDir) -> io::Result<Child> {
        let complaints = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.path().join("runner.log"))?;
        let args: [OsString; 4] = [
            "runner".into(),
            dir.path().into(),
            "--socket".into(),
            self.socket.clone().into_os_string(),
        ];
        tokio::process::Command::new(&self.program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints)
            .spawn()
    }

    fn remember_and_remove(&self, dir: &AttemptDir) -> io::Result<()> {
        let expires = dir
            .envelope()
            .ok()
            .and_then(|signed| pb::TaskEnvelope::decode(signed.body).ok())
            .map_or(0, |envelope| envelope.expires_time_us);
        let dies = UnixMicros(expires).plus(EXPIRY_TOLERANCE);
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        fence.remember(dir.id(), dies, UnixMicros::now())?;
        drop(fence);
        dir.remove()
    }

    /// A runner has dialed. `false` when this agent does not know its attempt.
    pub(super) fn connected(&self, id: AttemptId) -> bool {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&id) else { return false };
        slot.connections += 1;
        true
    }

    pub(super) fn disconnected(self: &Arc<Self>, id: AttemptId) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&id) else { return };
        slot.connections = slot.connections.saturating_sub(1);
        let silent = slot.connections == 0 && slot.phase != Phase::Ended;
        drop(slots);
        if silent {
            Self::watch(self, id);
        }
    }

    /// What a runner should know: whether to cancel, and what the cloud has. `None` once the attempt is gone.
    pub(super) fn orders(&self, id: AttemptId) -> Option<(bool, u64)> {
        self.slots().get(&id).map(|slot| (slot.cancel, slot.acknowledged))
    }

    /// Something is new in the attempt's journal.
    pub(super) fn note(&self, id: AttemptId, phase: Phase) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&id) else { return };
        slot.phase = slot.phase.max(phase);
        let phase = slot.phase;
        drop(slots);
        self.notices.note(id, phase);
    }

    /// Says whether the attempt has its end, without reading its chunks.
    fn has_ended(&self, id: AttemptId) -> bool {
        let dir = match self.slots().get(&id) {
            Some(slot) if slot.phase != Phase::Ended => slot.dir.clone(),
            _ => return true,
        };
        let ended = dir.record().is_ok_and(|record| record.outcome.is_some());
        if ended {
            self.note(id, Phase::Ended);
        }
        ended
    }

    /// Looks after an attempt whose runner does not talk, until it does or is gone.
    fn watch(shared: &Arc<Self>, id: AttemptId) {
        let shared = Arc::clone(shared);
        // Ends when the runner redials, when its journal is closed, or when the attempt is forgotten.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ORPHAN_CHECK_EVERY).await;
                let silent = shared
                    .slots()
                    .get(&id)
                    .is_some_and(|s| s.connections == 0 && s.phase != Phase::Ended);
                if !silent || Self::close(&shared, id).await {
                    return;
                }
            }
        });
    }

    /// Closes the journal of an attempt whose runner is gone. `false` while it lives.
    async fn close(shared: &Arc<Self>, id: AttemptId) -> bool {
        let dir = shared.slots().get(&id).map(|slot| slot.dir.clone());
        let Some(dir) = dir else { return true };
        let closing = tokio::task::spawn_blocking(move || close_if_orphaned(&dir)).await;
        match closing {
            Ok(Ok(Closing::Closed { .. })) => {
                shared.note(id, Phase::Ended);
                true
            }
            Ok(Ok(Closing::RunnerLives)) | Err(_) => false,
            Ok(Err(error)) => {
                tracing::warn!(attempt = %id, %error, "an orphaned attempt could not be closed");
                false
            }
        }
    }
}

async fn reap(mut child: Child) {
    match child.wait().await {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::warn!(%status, "a runner ended badly"),
        Err(error) => tracing::warn!(%error, "a runner could not be waited for"),
    }
}

fn replayed() -> Refusal {
    let message = "this attempt has run here before; it is not started again".to_owned();
    Refusal {
        reason: Reason::AttemptReplayed.code(),
        message,
    }
}

fn unstartable(message: String) -> Refusal {
    Refusal {
        reason: Reason::RunnerUnstartable.code(),
        message,
    }
}
