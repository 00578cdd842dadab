//! Attempts as tasks of this process, with a journal in memory: for simulations of many agents. Nothing survives.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use tokio_util::sync::CancellationToken;

use super::{Known, Launcher, Notices, Order, Phase, Refusal, early_cancels::EarlyCancels};
use crate::{
    connections::Connections,
    executor::Executor,
    journal::Fence,
    link::EXPIRY_TOLERANCE,
    runner::{self, Attempt, Spool},
};

/// Between two looks for space.
const SPACE_AFTER: Duration = Duration::from_millis(200);

/// Runs attempts inside this process.
pub struct InProcess {
    journal: Arc<MemoryJournal>,
    executors: Arc<[Box<dyn Executor>]>,
    connections: Arc<Connections>,
}

impl InProcess {
    /// Makes one with these executors, which may be shared by many agents.
    pub fn new(executors: Arc<[Box<dyn Executor>]>, connections: Arc<Connections>) -> Self {
        Self {
            journal: Arc::default(),
            executors,
            connections,
        }
    }

    /// Says whether there is space for the journal, as the disk of a machine would: without it what was said waits, and
    /// nothing starts. Here whoever says it does not wait.
    pub fn set_disk_full(&self, full: bool) {
        self.journal.full.store(full, Ordering::Relaxed);
    }

    /// How often something was not written, or not started, for want of space.
    pub fn writes_refused(&self) -> u64 {
        self.journal.refused.load(Ordering::Relaxed)
    }
}

struct MemoryJournal {
    full: AtomicBool,
    /// Writes for which there was no space.
    refused: AtomicU64,
    attempts: Mutex<BTreeMap<AttemptId, Entry>>,
    early_cancels: Mutex<EarlyCancels>,
    fence: Mutex<Fence>,
    notices: Notices,
}

struct Entry {
    chunks: Vec<pb::LogChunk>,
    /// Chunks that wait for space.
    waiting: Vec<pb::LogChunk>,
    phase: Phase,
    cancel: CancellationToken,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self {
            full: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            attempts: Mutex::default(),
            early_cancels: Mutex::default(),
            fence: Mutex::new(Fence::in_memory()),
            notices: Notices::default(),
        }
    }
}

impl MemoryJournal {
    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn early_cancels(&self) -> MutexGuard<'_, EarlyCancels> {
        self.early_cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Entry>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Space for something that is written now.
    fn space(&self) -> io::Result<()> {
        if self.is_full() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Writes what waits of an attempt.
    fn write(&self, id: AttemptId) {
        let mut attempts = self.attempts();
        let Some(entry) = attempts.get_mut(&id) else { return };
        entry.chunks.append(&mut entry.waiting);
        let ended = entry.chunks.last().is_some_and(|last| last.outcome.is_some());
        drop(attempts);
        self.note(id, if ended { Phase::Ended } else { Phase::Running });
    }

    /// Waits until all of an attempt that is over is written, as its runner does.
    async fn close(&self, id: AttemptId) {
        let waits = || self.attempts().get(&id).is_some_and(|entry| !entry.waiting.is_empty());
        while waits() {
            // Only a look: nothing is written before there is space.
            if self.is_full() {
                tokio::time::sleep(SPACE_AFTER).await;
            } else {
                self.write(id);
            }
        }
    }

    fn note(&self, id: AttemptId, phase: Phase) {
        if let Some(entry) = self.attempts().get_mut(&id) {
            entry.phase = phase;
        }
        self.notices.note(id, phase);
    }
}

/// One attempt's way into the journal.
struct MemorySpool {
    id: AttemptId,
    journal: Arc<MemoryJournal>,
}

impl Spool for MemorySpool {
    fn append(&self, chunk: pb::LogChunk) -> io::Result<()> {
        if let Some(entry) = self.journal.attempts().get_mut(&self.id) {
            entry.waiting.push(chunk);
        }
        // Without space it goes with the next one, or with the end: as on a disk, nothing is lost.
        if self.journal.space().is_ok() {
            self.journal.write(self.id);
        }
        Ok(())
    }
}

#[async_trait]
impl Launcher for InProcess {
    fn known(&self) -> Vec<Known> {
        let attempts = self.journal.attempts();
        let end = |entry: &Entry| {
            entry
                .chunks
                .last()
                .map_or(0, |last| last.first_seq + u64::from(last.event_count))
        };
        attempts
            .iter()
            .map(|(id, entry)| Known {
                id: *id,
                phase: entry.phase,
                next_seq: end(entry),
            })
            .collect()
    }

    async fn start(&self, order: Order) -> Result<(), Refusal> {
        {
            let place = order.place();
            // Held until it is taken: of two attempts with one number, one starts.
            let mut fence = self.journal.fence();
            if let Some(past) = fence.past(order.id, place) {
                return Err(Refusal::of(past));
            }
            if order.is_too_late() {
                return Err(Refusal::too_late());
            }
            if self.journal.early_cancels().holds(order.id) {
                return Err(Refusal::canceled());
            }
            if self.journal.space().is_err() {
                let message = "no space is left for the agent's journal";
                return Err(Refusal::new(Reason::DiskFull, message));
            }
            let dies = UnixMicros(order.envelope.expires_time_us).plus(EXPIRY_TOLERANCE);
            // In memory it cannot fail.
            fence.take(order.id, place, dies, UnixMicros::now()).ok();
        }
        let cancel = CancellationToken::new();
        let entry = Entry {
            chunks: Vec::new(),
            waiting: Vec::new(),
            phase: Phase::Running,
            cancel: cancel.clone(),
        };
        self.journal.attempts().insert(order.id, entry);
        // It may have come while this was at work.
        if self.journal.early_cancels().holds(order.id) {
            cancel.cancel();
        }
        let spool = Arc::new(MemorySpool {
            id: order.id,
            journal: Arc::clone(&self.journal),
        });
        let (executors, connections) = (Arc::clone(&self.executors), Arc::clone(&self.connections));
        let (journal, id) = (Arc::clone(&self.journal), order.id);
        let attempt = Attempt {
            envelope: order.envelope,
            permit: order.permit,
        };
        // Ends with the attempt, or when `cancel` fires.
        tokio::spawn(async move {
            runner::drive(attempt, &executors, connections, spool, cancel).await;
            journal.close(id).await;
        });
        Ok(())
    }

    fn cancel(&self, id: AttemptId) {
        match self.journal.attempts().get(&id) {
            Some(entry) => entry.cancel.cancel(),
            None => self.journal.early_cancels().remember(id),
        }
    }

    fn acknowledged(&self, _id: AttemptId, _next_seq: u64) {
        // Kept until archived: the cloud may ask again.
    }

    fn read(&self, id: AttemptId, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        let attempts = self.journal.attempts();
        let Some(entry) = attempts.get(&id) else {
            return Ok(None);
        };
        let end = |chunk: &pb::LogChunk| chunk.first_seq + u64::from(chunk.event_count);
        let at = entry.chunks.partition_point(|chunk| end(chunk) <= seq);
        Ok(entry.chunks.get(at).cloned())
    }

    fn forget(&self, id: AttemptId) {
        if self.journal.attempts().remove(&id).is_some() {
            // In memory it cannot fail.
            self.journal.fence().close(id, UnixMicros::now()).ok();
        }
    }

    async fn changed(&self) -> Vec<(AttemptId, Phase)> {
        self.journal.notices.take().await
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        for entry in self.journal.attempts().values() {
            entry.cancel.cancel();
        }
    }
}
