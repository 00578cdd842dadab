//! One runner process per attempt, with its journal on disk. Runners outlive the agent; the next agent adopts them.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use super::{
    Known, Launcher, Notices, Order, Phase, Refusal,
    fork_server::{ForkServer, Forked},
    slot::Slot,
    socket,
};
use crate::{
    config::StateDir,
    crashpoint,
    journal::{AttemptDir, Closing, Fence, Recovery, close_if_orphaned, recover},
    link::EXPIRY_TOLERANCE,
};

/// How often the agent looks whether a runner that it cannot hear still lives.
const ORPHAN_CHECK_EVERY: Duration = Duration::from_millis(500);

/// Ends of runners that may wait for a look at their journals.
const ENDS_QUEUED: usize = 256;

/// Runs attempts as processes of their own.
pub struct ProcessLauncher {
    shared: Arc<Shared>,
    fork_server: ForkServer,
    tasks: [JoinHandle<()>; 2],
}

/// What the launcher, its socket and its watchers have in common.
pub(super) struct Shared {
    attempts: PathBuf,
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
        // Taken, and a power cut took the folder: recovery gives each an end, so that none is silently gone.
        for id in fence.open_attempts() {
            AttemptDir::restore(&state.attempts(), id)?;
        }
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
            slots: Mutex::new(slots),
            fence: Mutex::new(fence),
            notices: Notices::default(),
            wake_runners: Notify::new(),
        });
        let listener = socket::bind(&state.socket())?;
        // Stopped when the launcher is dropped; runners redial the next agent.
        let server = tokio::spawn(socket::serve(listener, Arc::clone(&shared)));
        let (ended, ends) = mpsc::channel(ENDS_QUEUED);
        let fork_server = ForkServer::new(program, state.socket(), ended);
        let reaper = tokio::spawn(hear_ends(ends, Arc::clone(&shared)));
        for id in running {
            Shared::watch(&shared, id);
        }
        Ok(Self {
            shared,
            fork_server,
            tasks: [server, reaper],
        })
    }

    /// Starts the fork server ahead of the first task. That it cannot be started now is told with the first task.
    pub async fn warm_up(&self) {
        if let Err(error) = self.fork_server.warm_up().await {
            tracing::warn!(%error, "the fork server cannot be started");
        }
    }
}

impl Drop for ProcessLauncher {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
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
        // The disk blocks: it gets a thread, so that the link goes on.
        let made = tokio::task::spawn_blocking(move || shared.make(&order));
        let dir = made.await.map_err(|error| unstartable(format!("{error}")))??;
        match self.fork_server.fork(&dir).await {
            Ok(Forked::Started) => {}
            Ok(Forked::Unknown) => Shared::watch(&self.shared, id),
            Err(error) => {
                // Nothing runs, and the refusal is the whole truth.
                self.shared.slots().remove(&id);
                self.shared.close_and_remove(&dir).ok();
                return Err(unstartable(format!("the runner cannot be started: {error}")));
            }
        }
        crashpoint!("after_launch_before_accepted");
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
            if let Err(error) = shared.close_and_remove(&slot.dir) {
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

    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the attempt into the journal: its folder, then durably that it was taken.
    fn make(&self, order: &Order) -> Result<AttemptDir, Refusal> {
        let dir = AttemptDir::create(&self.attempts, order.id, &order.signed).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => replayed(),
            _ => unwritable(&error),
        })?;
        // Asked after the folder was made: a folder that is just being forgotten is in the fence before it goes.
        let mut fence = self.fence();
        if fence.holds(order.id) {
            dir.remove().ok();
            return Err(replayed());
        }
        let dies = UnixMicros(order.envelope.expires_time_us).plus(EXPIRY_TOLERANCE);
        if let Err(error) = fence.take(order.id, dies, UnixMicros::now()) {
            dir.remove().ok();
            return Err(unwritable(&error));
        }
        drop(fence);
        crashpoint!("after_journal_create");
        self.slots().insert(order.id, Slot::new(dir.clone(), Phase::Running));
        Ok(dir)
    }

    fn close_and_remove(&self, dir: &AttemptDir) -> io::Result<()> {
        self.fence().close(dir.id(), UnixMicros::now())?;
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

/// Closes the journals of runners that could not do so themselves.
async fn hear_ends(mut ends: mpsc::Receiver<(AttemptId, i32)>, shared: Arc<Shared>) {
    while let Some((id, status)) = ends.recv().await {
        if status != 0 {
            tracing::warn!(attempt = %id, status, "a runner ended badly");
        }
        if !shared.has_ended(id) {
            let shared = Arc::clone(&shared);
            // One look at one folder.
            tokio::spawn(async move { Shared::close(&shared, id).await });
        }
    }
}

fn replayed() -> Refusal {
    let message = "this attempt has run here before; it is not started again".to_owned();
    Refusal {
        reason: Reason::AttemptReplayed.code(),
        message,
    }
}

fn unwritable(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal {
            reason: Reason::DiskFull.code(),
            message: "no space is left for the agent's journal".to_owned(),
        },
        _ => unstartable(format!("the journal cannot be written: {error}")),
    }
}

fn unstartable(message: String) -> Refusal {
    Refusal {
        reason: Reason::RunnerUnstartable.code(),
        message,
    }
}
