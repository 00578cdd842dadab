//! Attempts as tasks of this process, with a journal in memory: for simulations of many agents. Nothing survives.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use tokio_util::sync::CancellationToken;

use super::{Known, Launcher, Notices, Order, Phase, Refusal};
use crate::{
    connections::Connections,
    executor::Executor,
    journal::Fence,
    link::EXPIRY_TOLERANCE,
    runner::{self, Spool},
};

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
}

struct MemoryJournal {
    attempts: Mutex<BTreeMap<AttemptId, Entry>>,
    fence: Mutex<Fence>,
    notices: Notices,
}

struct Entry {
    chunks: Vec<pb::LogChunk>,
    phase: Phase,
    cancel: CancellationToken,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self {
            attempts: Mutex::default(),
            fence: Mutex::new(Fence::in_memory()),
            notices: Notices::default(),
        }
    }
}

impl MemoryJournal {
    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Entry>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
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
        let ended = chunk.outcome.is_some();
        if let Some(entry) = self.journal.attempts().get_mut(&self.id) {
            entry.chunks.push(chunk);
        }
        self.journal
            .note(self.id, if ended { Phase::Ended } else { Phase::Running });
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
            let mut fence = self.journal.fence();
            if fence.holds(order.id) {
                let message = "this attempt has run here before; it is not started again".to_owned();
                return Err(Refusal {
                    reason: Reason::AttemptReplayed.code(),
                    message,
                });
            }
            let dies = UnixMicros(order.envelope.expires_time_us).plus(EXPIRY_TOLERANCE);
            // In memory it cannot fail.
            fence.take(order.id, dies, UnixMicros::now()).ok();
        }
        let cancel = CancellationToken::new();
        let entry = Entry {
            chunks: Vec::new(),
            phase: Phase::Running,
            cancel: cancel.clone(),
        };
        self.journal.attempts().insert(order.id, entry);
        let spool = Arc::new(MemorySpool {
            id: order.id,
            journal: Arc::clone(&self.journal),
        });
        let (executors, connections) = (Arc::clone(&self.executors), Arc::clone(&self.connections));
        // Ends with the attempt, or when `cancel` fires.
        tokio::spawn(async move {
            runner::drive(order.envelope, &executors, connections, spool, cancel).await;
        });
        Ok(())
    }

    fn cancel(&self, id: AttemptId) {
        if let Some(entry) = self.journal.attempts().get(&id) {
            entry.cancel.cancel();
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
