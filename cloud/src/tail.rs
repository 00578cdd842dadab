//! Live readers: what was just committed, for those who watch a task.
//!
//! Every watched task has a hub with a ring of its newest committed items, bounded in bytes and shared by all its
//! readers. A reader takes from its own place in the ring; who falls out of it is told so ([`Taken::Behind`]) and reads
//! the store instead. Writers never wait for readers, and a task that nobody watches costs one look-up an item.
//!
//! No gap: a reader subscribes first and reads the store then, and whatever is committed is published afterwards. No
//! duplicate: items carry their numbers (seq of chunks, revision of executions), and readers skip what they have.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
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

/// Bytes that the ring of one task holds: 64 full chunks.
const RING_BYTES: usize = 16 << 20;
/// What an item costs beside its payload.
const ITEM_BYTES: usize = 512;
/// Items that a reader takes at once.
const TAKE_MAX: usize = 256;
/// Bytes after which it takes no further one: what it has taken leaves the ring, and not the memory.
const TAKE_BYTES: usize = 512 << 10;

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
            Self::Execution(_) | Self::CancelRequested => ITEM_BYTES,
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
pub struct Tails(Arc<DashMap<TaskId, Arc<Hub>>>);

#[derive(Debug)]
struct Hub {
    readers: AtomicUsize,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the oldest item.
    first: u64,
    items: VecDeque<Item>,
    bytes: usize,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }
}

impl Tails {
    /// Says whether somebody watches the task.
    pub fn is_watched(&self, task: TaskId) -> bool {
        self.0.contains_key(&task)
    }

    /// Shows something that is durable to those who watch the task.
    pub fn publish(&self, task: TaskId, make: impl FnOnce() -> Item) {
        let Some(hub) = self.0.get(&task).map(|entry| entry.value().clone()) else {
            return;
        };
        let item = make();
        let end = {
            let mut ring = hub.ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.bytes += item.bytes();
            ring.items.push_back(item);
            while ring.bytes > RING_BYTES
                && let Some(old) = ring.items.pop_front()
            {
                ring.bytes -= old.bytes();
                ring.first += 1;
            }
            ring.end()
        };
        hub.newest.send_replace(end);
    }

    /// Begins to watch: everything that is published from now on will be seen, or be known to be missed.
    pub fn subscribe(&self, task: TaskId) -> Tail {
        let hub = {
            let entry = self.0.entry(task).or_insert_with(|| {
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
        let mut tail = Tail {
            newest: hub.newest.subscribe(),
            hub,
            cursor: 0,
            task,
            tails: self.clone(),
        };
        tail.skip();
        tail
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

    /// Takes the next items: 256 at most, and none behind 512 KiB.
    pub fn take(&mut self) -> Taken {
        let ring = self.hub.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(skip) = self.cursor.checked_sub(ring.first) else {
            self.cursor = ring.end();
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
        self.cursor += items.len() as u64;
        Taken::Items(items)
    }

    /// Moves to the newest: what was published before is not wanted.
    pub fn skip(&mut self) {
        self.cursor = self.hub.ring.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.0.remove_if(&self.task, |_, hub| {
            Arc::ptr_eq(hub, &self.hub) && hub.readers.fetch_sub(1, Ordering::Relaxed) == 1
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn chunk(first_seq: u64, size: usize) -> Item {
        let chunk = pb::LogChunk {
            first_seq,
            payload: vec![0; size].into(),
            ..Default::default()
        };
        Item::Chunk(Arc::new(LiveChunk {
            agent_id: AgentId::new(),
            attempt_id: AttemptId::new(),
            chunk,
        }))
    }

    fn seqs(taken: Taken) -> Vec<u64> {
        let Taken::Items(items) = taken else { panic!("behind") };
        items
            .iter()
            .map(|item| {
                if let Item::Chunk(live) = item {
                    live.chunk.first_seq
                } else {
                    panic!()
                }
            })
            .collect()
    }

    #[test]
    fn every_reader_sees_everything_from_its_beginning_on() {
        let (tails, task) = (Tails::default(), TaskId::new());
        tails.publish(task, || panic!("nobody watches"));
        let mut early = tails.subscribe(task);
        tails.publish(task, || chunk(0, 1));
        let mut late = tails.subscribe(task);
        tails.publish(task, || chunk(1, 1));
        assert_eq!(seqs(early.take()), [0, 1]);
        assert_eq!(seqs(late.take()), [1]);
        assert!(seqs(late.take()).is_empty());
    }

    #[test]
    fn a_reader_takes_few_bytes_at_once_and_leaves_nothing_out() {
        let (tails, task) = (Tails::default(), TaskId::new());
        let mut tail = tails.subscribe(task);
        for seq in 0..5 {
            tails.publish(task, || chunk(seq, TAKE_BYTES / 2));
        }
        tails.publish(task, || chunk(5, 2 * TAKE_BYTES));
        assert_eq!(seqs(tail.take()), [0, 1]);
        assert_eq!(seqs(tail.take()), [2, 3]);
        assert_eq!(seqs(tail.take()), [4, 5]);
        assert!(seqs(tail.take()).is_empty());
    }

    #[test]
    fn a_slow_reader_is_told_and_stands_at_the_newest() {
        let (tails, task) = (Tails::default(), TaskId::new());
        let mut slow = tails.subscribe(task);
        for seq in 0..40 {
            tails.publish(task, || chunk(seq, RING_BYTES / 16));
        }
        assert!(matches!(slow.take(), Taken::Behind));
        assert!(seqs(slow.take()).is_empty());
        tails.publish(task, || chunk(40, 1));
        assert_eq!(seqs(slow.take()), [40]);
    }

    #[test]
    fn a_reader_is_woken_once_there_is_something() {
        let (tails, task) = (Tails::default(), TaskId::new());
        let mut tail = tails.subscribe(task);
        assert!(tail.changed().now_or_never().is_none());
        tails.publish(task, || chunk(0, 1));
        assert!(tail.changed().now_or_never().is_some());
        tail.take();
        assert!(tail.changed().now_or_never().is_none());
    }

    #[test]
    fn the_hub_goes_with_its_last_reader() {
        let (tails, task) = (Tails::default(), TaskId::new());
        let (one, two) = (tails.subscribe(task), tails.subscribe(task));
        drop(one);
        assert!(tails.is_watched(task));
        drop(two);
        assert!(!tails.is_watched(task));
    }
}
