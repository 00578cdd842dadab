//! The journal as a spool: waits for space, for the quota and for the disk, and tells the agent of each new chunk.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::unistd::alarm;
use opslink::{
    event::{Level, Note},
    pb,
    reason::Reason,
    task::Outcome,
};
use tokio::sync::Notify;

use super::Spool;
use crate::{crashpoint, journal::AttemptWriter};

/// Compressed bytes that one attempt may have in the journal before the cloud has acknowledged them. Then its child
/// is made to wait.
pub const DEFAULT_QUOTA_BYTES: u64 = 1024 * 1024 * 1024;

/// Pause between two tries on a full disk.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long a disk may fail for another reason than being full.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Unacknowledged {
    /// Per chunk: the seq after its last event, and its size.
    chunks: VecDeque<(u64, u64)>,
    bytes: u64,
    /// An acknowledgement that came before its chunk was counted.
    next_seq: u64,
    lifted: bool,
}

impl Unacknowledged {
    fn release(&mut self) {
        while let Some((next_seq, bytes)) = self.chunks.front().copied() {
            if next_seq > self.next_seq {
                break;
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            self.chunks.pop_front();
        }
    }
}

/// See the module.
pub(super) struct DiskSpool {
    writer: Mutex<AttemptWriter>,
    scratch: PathBuf,
    quota: u64,
    unacknowledged: Mutex<Unacknowledged>,
    changed: Condvar,
    note: Mutex<Option<Note>>,
    /// Events in the journal.
    next_seq: AtomicU64,
    /// A chunk could not be kept: the journal has no end.
    is_broken: AtomicBool,
    /// Woken once per chunk (at least once per burst).
    pub(super) written: Notify,
}

impl DiskSpool {
    pub(super) fn new(writer: AttemptWriter, scratch: PathBuf, quota: u64) -> Arc<Self> {
        Arc::new(Self {
            writer: Mutex::new(writer),
            scratch,
            quota,
            unacknowledged: Mutex::default(),
            changed: Condvar::new(),
            note: Mutex::new(None),
            next_seq: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            written: Notify::new(),
        })
    }

    /// The cloud has everything below `next_seq`.
    pub(super) fn acknowledge(&self, next_seq: u64) {
        let mut unacknowledged = lock(&self.unacknowledged);
        unacknowledged.next_seq = unacknowledged.next_seq.max(next_seq);
        unacknowledged.release();
        drop(unacknowledged);
        self.changed.notify_all();
    }

    /// Number of events in the journal.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// Says whether a chunk could not be kept. The agent then writes the end, once this process is gone.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Records the end in the journal.
    pub(super) fn ended(&self, outcome: &Outcome) -> io::Result<()> {
        let outcome = pb::Outcome::from(outcome.clone());
        self.persist(|writer| writer.ended(&outcome)).map(drop)
    }

    fn wait_for_quota(&self, bytes: u64) {
        let over = |state: &mut Unacknowledged| {
            // A chunk that alone is bigger than the quota still has to pass.
            !state.lifted && state.bytes > 0 && state.bytes + bytes > self.quota
        };
        let unacknowledged = lock(&self.unacknowledged);
        drop(self.changed.wait_while(unacknowledged, over));
    }

    /// Tries until it is written. Returns how long it had to wait for the disk.
    fn persist(&self, mut write: impl FnMut(&mut AttemptWriter) -> io::Result<()>) -> io::Result<Duration> {
        let start = Instant::now();
        loop {
            let mut writer = lock(&self.writer);
            let Err(error) = write(&mut writer) else {
                return Ok(start.elapsed());
            };
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let acknowledged = lock(&self.unacknowledged).next_seq;
            if full && writer.give_back(acknowledged, true).unwrap_or(false) {
                continue;
            }
            drop(writer);
            if !full && start.elapsed() >= GIVE_UP_AFTER {
                return Err(error);
            }
            std::thread::sleep(RETRY_AFTER);
        }
    }
}

impl Spool for DiskSpool {
    fn append(&self, chunk: pb::LogChunk) -> io::Result<()> {
        let bytes = chunk.payload.len() as u64;
        let next_seq = chunk.first_seq + u64::from(chunk.event_count);
        self.wait_for_quota(bytes);
        let acknowledged = lock(&self.unacknowledged).next_seq;
        let waited = self.persist(|writer| {
            writer.append_chunk(&chunk)?;
            // What stays too long is no reason to stop.
            writer.give_back(acknowledged, false).ok();
            Ok(())
        });
        let waited = waited.inspect_err(|_| self.is_broken.store(true, Ordering::Release))?;
        self.next_seq.store(next_seq, Ordering::Release);
        crashpoint!("runner.chunk_appended");
        if waited >= RETRY_AFTER {
            let message = format!(
                "output had to wait {:.1} s because the agent's disk was full; nothing was lost. \
                 Free space on the agent's state folder",
                waited.as_secs_f64()
            );
            *lock(&self.note) = Some(Note {
                level: Level::Warning,
                reason: Reason::DiskFull.code().to_owned(),
                message,
            });
        }
        let mut unacknowledged = lock(&self.unacknowledged);
        unacknowledged.bytes += bytes;
        unacknowledged.chunks.push_back((next_seq, bytes));
        unacknowledged.release();
        drop(unacknowledged);
        self.written.notify_one();
        Ok(())
    }

    fn lift_quota(&self) {
        lock(&self.unacknowledged).lifted = true;
        self.changed.notify_all();
    }

    fn work_is_over(&self) {
        // The end may have to wait for the disk, for as long as it takes.
        alarm::cancel();
    }

    fn take_note(&self) -> Option<Note> {
        lock(&self.note).take()
    }

    fn scratch(&self) -> Option<PathBuf> {
        Some(self.scratch.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
