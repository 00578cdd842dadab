//! Live readers: what was just committed, for those who watch a task.
//!
//! Every watched task has a hub with a ring of its newest committed items, shared by all its readers: what all of them
//! have taken is gone, and what is left is bounded in bytes, of one ring and of all. A reader takes from its own place in
//! the ring; who falls out of it is told so ([`Taken::Behind`]) and reads the store instead. Writers never wait for
//! readers, and a task that nobody watches costs one look-up an item.
//!
//! No gap: a reader subscribes first and reads the store then, and whatever is committed is published afterwards. No
//! duplicate: items carry their numbers (seq of chunks, revision of executions), and readers skip what they have.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
};
use tokio::sync::watch;

use crate::store::record::Execution;

/// Bytes that the ring of one task holds at most: 16 full chunks.
const RING_BYTES: usize = 4 << 20;
/// Bytes that all rings hold together, unless there are so many that each has [`LEAST_BYTES`].
const ALL_BYTES: usize = 8 << 20;
/// With 512 streams, see `identity/streams.rs`, there are as many rings at most: 64 MiB if nobody reads.
const LEAST_BYTES: usize = 128 << 10;
/// Places that an empty ring keeps.
const KEPT_PLACES: usize = 64;
/// What an item costs beside its payload.
const ITEM_BYTES: usize = 512;
/// Items that a reader takes at once.
const TAKE_MAX: usize = 256;
/// Bytes after which it takes no further one: what it has taken leaves the ring, and not the memory.
const TAKE_BYTES: usize = 256 << 10;

/// Something that was committed.
#[derive(Debug, Clone)]
pub enum Item {
    /// A chunk.
    Chunk(Arc<LiveChunk>),
    /// A changed execution.
    Execution(Arc<Execution>),
    /// Somebody asked for the task's end.
    CancelRequested,
}

/// A chunk that was just stored.
#[derive(Debug)]
pub struct LiveChunk {
    /// Whose machine.
    pub agent_id: AgentId,
    /// Its attempt, parsed.
    pub attempt_id: AttemptId,
    /// As it came; cloning it shares the payload.
    pub chunk: pb::LogChunk,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Chunk(live) => ITEM_BYTES + live.chunk.payload.len(),
            Self::Execution(execution) => {
                let outcome = execution.outcome.as_ref();
                ITEM_BYTES + execution.agent_name.len() + outcome.map_or(0, |outcome| outcome.message.len())
            }
            Self::CancelRequested => ITEM_BYTES,
        }
    }
}

/// What a reader got.
#[derive(Debug)]
pub enum Taken {
    /// The next items; none when there are none.
    Items(Vec<Item>),
    /// Some were lost to this reader. It stands at the newest now and must read the store.
    Behind,
}

/// The hubs of all watched tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tails(Arc<Hubs>);

#[derive(Debug)]
struct Hubs {
    by_task: DashMap<TaskId, Arc<Hub>>,
    /// Bytes that each ring may hold now.
    most: AtomicUsize,
}

impl Default for Hubs {
    fn default() -> Self {
        Self {
            by_task: DashMap::new(),
            most: AtomicUsize::new(RING_BYTES),
        }
    }
}

impl Hubs {
    /// Shares all bytes among the rings that there are. Few come and go, beside what is published.
    fn share(&self) {
        let share = ALL_BYTES / self.by_task.len().max(1);
        let most = share.clamp(LEAST_BYTES, RING_BYTES);
        let before = self.most.swap(most, Ordering::Relaxed);
        if most < before {
            for hub in &self.by_task {
                hub.lock().shrink(most);
            }
        }
    }
}

#[derive(Debug)]
struct Hub {
    readers: AtomicUsize,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the oldest item.
    first: u64,
    items: VecDeque<Item>,
    bytes: usize,
    /// Where readers stand, and how many stand there.
    cursors: BTreeMap<u64, usize>,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn pop(&mut self) -> bool {
        let Some(old) = self.items.pop_front() else {
            return false;
        };
        self.bytes -= old.bytes();
        self.first += 1;
        true
    }

    fn shrink(&mut self, most: usize) {
        while self.bytes > most && self.pop() {}
    }

    /// A reader stands here now.
    fn stand(&mut self, cursor: u64) {
        *self.cursors.entry(cursor).or_default() += 1;
    }

    /// A reader has left its place.
    fn leave(&mut self, cursor: u64) {
        if let Some(readers) = self.cursors.get_mut(&cursor) {
            *readers -= 1;
            if *readers == 0 {
                self.cursors.remove(&cursor);
            }
        }
    }

    /// Forgets what all readers have taken.
    fn forget_taken(&mut self) {
        let slowest = self.cursors.keys().next().copied().unwrap_or(u64::MAX);
        while self.first < slowest && self.pop() {}
        if self.items.is_empty() && self.items.capacity() > KEPT_PLACES {
            self.items.shrink_to(KEPT_PLACES);
        }
    }
}

impl Tails {
    /// Says whether somebody watches the task.
    pub fn is_watched(&self, task: TaskId) -> bool {
        self.0.by_task.contains_key(&task)
    }

    /// Shows something that is durable to those who watch the task.
    pub fn publish(&self, task: TaskId, make: impl FnOnce() -> Item) {
        let Some(hub) = self.0.by_task.get(&task).map(|entry| entry.value().clone()) else {
            return;
        };
        let item = make();
        let end = {
            let mut ring = hub.lock();
            ring.bytes += item.bytes();
            ring.items.push_back(item);
            ring.shrink(self.0.most.load(Ordering::Relaxed));
            ring.end()
        };
        hub.newest.send_replace(end);
    }

    /// Begins to watch: everything that is published from now on will be seen, or be known to be missed.
    pub fn subscribe(&self, task: TaskId) -> Tail {
        let hub = {
            let entry = self.0.by_task.entry(task).or_insert_with(|| {
                Arc::new(Hub {
                    readers: AtomicUsize::new(0),
                    ring: Mutex::default(),
                    newest: watch::Sender::new(0),
                })
            });
            // Under the map's lock, as is the removal: a hub with a reader is never taken out.
            entry.readers.fetch_add(1, Ordering::Relaxed);
            entry.value().clone()
        };
        self.0.share();
        let cursor = {
            let mut ring = hub.lock();
            let end = ring.end();
            ring.stand(end);
            end
        };
        Tail {
            newest: hub.newest.subscribe(),
            hub,
            cursor,
            task,
            tails: self.clone(),
        }
    }
}

/// One reader of one task.
#[derive(Debug)]
pub struct Tail {
    hub: Arc<Hub>,
    newest: watch::Receiver<u64>,
    cursor: u64,
    task: TaskId,
    tails: Tails,
}

impl Tail {
    /// Waits until there is something new. Cancel safe.
    pub async fn changed(&mut self) {
        let cursor = self.cursor;
        // The sender lives in the hub that this reader holds.
        let _ = self.newest.wait_for(|newest| *newest > cursor).await;
    }

    /// Takes the next items: 256 at most, and none behind 256 KiB.
    pub fn take(&mut self) -> Taken {
        let mut ring = self.hub.lock();
        let Some(skip) = self.cursor.checked_sub(ring.first) else {
            let end = ring.end();
            go(&mut ring, &mut self.cursor, end);
            return Taken::Behind;
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in ring.items.iter().skip(skip).take(TAKE_MAX) {
            if bytes >= TAKE_BYTES {
                break;
            }
            bytes += item.bytes();
            items.push(item.clone());
        }
        if !items.is_empty() {
            let end = self.cursor + items.len() as u64;
            go(&mut ring, &mut self.cursor, end);
        }
        Taken::Items(items)
    }

    /// Moves to the newest: what was published before is not wanted.
    pub fn skip(&mut self) {
        let mut ring = self.hub.lock();
        let end = ring.end();
        go(&mut ring, &mut self.cursor, end);
    }
}

/// A reader goes from its place to another one.
fn go(ring: &mut Ring, cursor: &mut u64, to: u64) {
    ring.leave(*cursor);
    ring.stand(to);
    *cursor = to;
    ring.forget_taken();
}

impl Drop for Tail {
    fn drop(&mut self) {
        {
            let mut ring = self.hub.lock();
            ring.leave(self.cursor);
            ring.forget_taken();
        }
        let removed = self.tails.0.by_task.remove_if(&self.task, |_, hub| {
            Arc::ptr_eq(hub, &self.hub) && hub.readers.fetch_sub(1, Ordering::Relaxed) == 1
        });
        if removed.is_some() {
            self.tails.0.share();
        }
    }
}

#[cfg(test)]
mod tests;
