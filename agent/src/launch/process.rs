//! One runner process per attempt, with its journal on disk. Runners outlive the agent; the next agent adopts them.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, time::UnixMicros};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Known, Launcher, Order, Phase, Refusal,
    fork_server::{ForkServer, Forked, RunnerEnd},
    shared::Shared,
    slot::Slot,
    socket,
};
use crate::{
    config::StateDir,
    crashpoint,
    journal::{AttemptDir, Fence, Recovery, Unstarted, recover},
};

/// Ends of runners that may wait for a look at their journals.
const ENDS_QUEUED: usize = 256;

/// Runs attempts as processes of their own.
pub struct ProcessLauncher {
    shared: Arc<Shared>,
    fork_server: ForkServer,
    tasks: [JoinHandle<()>; 2],
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
            if let Err(error) = AttemptDir::restore(&state.attempts(), id) {
                // A full disk. The cloud knows what it handed over, and that this agent does not know it.
                tracing::warn!(attempt = %id, %error, "the folder of a lost attempt cannot be made");
            }
        }
        let found = recover(&state.attempts(), |path, error| {
            tracing::warn!(path = %path.display(), %error, "an attempt's folder cannot be read and is left alone");
        })?;
        let mut slots = BTreeMap::new();
        let mut open = Vec::new();
        for recovered in found {
            let id = recovered.dir.id();
            let phase = match recovered.recovery {
                Recovery::Running | Recovery::Open => {
                    open.push(id);
                    Phase::Running
                }
                Recovery::Ended => Phase::Ended,
            };
            slots.insert(id, Slot::new(recovered.dir, phase, recovered.next_seq));
        }
        let shared = Arc::new(Shared::new(state.attempts(), slots, fence));
        let listener = socket::bind(&state.socket())?;
        // Stopped when the launcher is dropped; runners redial the next agent.
        let server = tokio::spawn(socket::serve(listener, Arc::clone(&shared)));
        let (ended, ends) = mpsc::channel(ENDS_QUEUED);
        let fork_server = ForkServer::new(program, state.socket(), ended);
        let reaper = tokio::spawn(hear_ends(ends, Arc::clone(&shared)));
        for id in open {
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
        let slots = self.shared.slots();
        let known = slots.here.iter().map(|(id, slot)| Known {
            id: *id,
            phase: slot.phase,
            next_seq: slot.next_seq(),
        });
        known.collect()
    }

    async fn start(&self, order: Order) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let id = order.id;
        // The disk blocks: it gets a thread, so that the link goes on.
        let made = tokio::task::spawn_blocking(move || shared.make(&order));
        let dir = made.await.map_err(|error| Refusal::unstartable(format!("{error}")))??;
        match self.fork_server.fork(&dir).await {
            Ok(Forked::Started(pid)) => Shared::watch_first_word(&self.shared, id, pid),
            Ok(Forked::Unknown) => Shared::watch(&self.shared, id),
            Err(error) => {
                // Nothing runs, and the refusal is the whole truth.
                self.shared.slots().here.remove(&id);
                self.shared.give_back(&dir, Unstarted::Unstartable);
                return Err(Refusal::unstartable(format!("the runner cannot be started: {error}")));
            }
        }
        crashpoint!("launch.forked");
        Ok(())
    }

    fn cancel(&self, id: AttemptId) {
        let mut slots = self.shared.slots();
        let Some(slot) = slots.here.get_mut(&id) else {
            return slots.early_cancels.remember(id);
        };
        if slot.cancel || slot.phase == Phase::Ended {
            return;
        }
        slot.cancel = true;
        if let Err(error) = slot.dir.request_cancel() {
            tracing::warn!(attempt = %id, %error, "a cancel could not be written down");
        }
        crashpoint!("launch.cancel_written");
        drop(slots);
        self.shared.wake_runners.notify_waiters();
        Shared::watch_cancel(&self.shared, id);
    }

    fn acknowledged(&self, id: AttemptId, next_seq: u64) {
        let mut slots = self.shared.slots();
        let Some(slot) = slots.here.get_mut(&id) else { return };
        slot.acknowledged = slot.acknowledged.max(next_seq);
        let listening = slot.connections > 0;
        drop(slots);
        if listening {
            self.shared.wake_runners.notify_waiters();
        }
    }

    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        let mut slots = self.shared.slots();
        slots.here.get_mut(&id).map_or(Ok(None), |slot| slot.read(seq))
    }

    fn forget(&self, id: AttemptId) {
        let Some(slot) = self.shared.slots().here.remove(&id) else {
            return;
        };
        self.shared.wake_runners.notify_waiters();
        let shared = Arc::clone(&self.shared);
        // Short disk work that nobody waits for; after a crash the cloud says `archived` again.
        tokio::task::spawn_blocking(move || {
            crashpoint!("forget.acknowledged");
            if let Err(error) = shared.close_and_remove(&slot.dir) {
                tracing::warn!(attempt = %slot.dir.id(), %error, "an archived attempt could not be removed");
            }
        });
    }

    async fn changed(&self) -> Vec<(AttemptId, Phase)> {
        self.shared.notices.take().await
    }
}

/// Closes the journals of runners that could not do so themselves.
async fn hear_ends(mut ends: mpsc::Receiver<RunnerEnd>, shared: Arc<Shared>) {
    while let Some(end) = ends.recv().await {
        match end {
            RunnerEnd::One(id, status) => {
                if status != 0 {
                    tracing::warn!(attempt = %id, status, "a runner ended badly");
                }
                Shared::runner_ended(&shared, id, status == 0);
            }
            RunnerEnd::Untold => Shared::watch_silent(&shared),
        }
    }
}
