//! What was read for a caller and waits to be taken: bounded in bytes, since a caller may never take anything.
//!
//! A reader asks for a place before it decodes, so what a stalled stream holds is the queue, and what its reader has read
//! from the store at once. Beyond it is what HTTP/2 has in hand, one message until all of it has left (`server/going.rs`):
//!
//! ```text
//! 256 KiB read at once · 128 KiB in the queue, or one message · 256 KiB encoded and sent: 1 MiB a stream at most
//! ```
//!
//! A message that is larger (a large row, the task of a large script) is in each of these places alone. Up to 384 KiB that
//! is as good as the same: a chunk of ordinary output, 256 KiB and the read that closed it, stays below. One of 3 MiB takes
//! 3.3 MiB in all, as measured, so the first that is larger makes its stream count as four ([`StreamWeight`]), and ends it
//! where there is no room for that. Events that are sent decoded are weighed when they are ([`decoded`]): a large one counts
//! as many more as it has MiB, as events and as bytes, if that is more.
//!
//! A watch keeps beside it some 200 bytes of each execution of its task, which count too (`watch/opening.rs`), 256 KiB of
//! attempts, and a page of 256 executions with their outcomes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{Stream, StreamExt};
use opslink::{
    chunk::{OUTPUT_MAX, SEAL_RAW_BYTES},
    event::Event,
    pb,
    problem::Problem,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

mod decoded;

use super::answer::Sent;
use crate::identity::StreamWeight;

/// What may wait: many small messages, or one that is larger.
const BYTES_MAX: u32 = 128 << 10;
/// Messages that may wait, however small.
const MESSAGES_MAX: usize = 64;
/// What a message takes beside its payload.
const MESSAGE_BYTES: usize = 512;

/// A message above this makes its stream heavier: 384 KiB. A chunk is closed at 256 KiB, so one of ordinary output has less
/// than 64 KiB more, and what its events take beside their bytes.
const LARGE_BYTES: usize = SEAL_RAW_BYTES + 2 * OUTPUT_MAX;
/// What such a stream takes more at least, in MiB: see the module's doc.
const LARGE_WEIGHT: usize = 3;
/// What a stream counts one more for.
const WEIGHT_BYTES: usize = 1 << 20;

/// Why there is no place for a message.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// The caller takes nothing any more.
    Gone,
    /// The stream may not become as heavy as the message makes it.
    TooHeavy(Problem),
}

/// The end of the queue where messages are put.
pub(super) struct Unread<T> {
    messages: mpsc::Sender<Waiting<T>>,
    room: Arc<Semaphore>,
    weight: StreamWeight,
    /// What it counts more for large messages.
    more: Arc<AtomicUsize>,
}

impl<T> Clone for Unread<T> {
    fn clone(&self) -> Self {
        Self {
            messages: self.messages.clone(),
            room: Arc::clone(&self.room),
            weight: self.weight.clone(),
            more: Arc::clone(&self.more),
        }
    }
}

struct Waiting<T> {
    message: T,
    _room: OwnedSemaphorePermit,
}

/// A place for one message.
pub(super) struct Place<T> {
    slot: mpsc::OwnedPermit<Waiting<T>>,
    room: OwnedSemaphorePermit,
}

impl<T> Place<T> {
    /// Puts the message there.
    pub(super) fn put(self, message: T) {
        let waiting = Waiting {
            message,
            _room: self.room,
        };
        drop(self.slot.send(waiting));
    }
}

/// Makes the queue of a stream, and the stream of what is taken from it.
pub(super) fn queue<T: Send + 'static>(weight: StreamWeight) -> (Unread<T>, impl Stream<Item = T> + Send + use<T>) {
    let (messages, waiting) = mpsc::channel(MESSAGES_MAX);
    let unread = Unread {
        messages,
        room: Arc::new(Semaphore::new(BYTES_MAX as usize)),
        weight,
        more: Arc::default(),
    };
    let taken = ReceiverStream::new(waiting).map(|waiting: Waiting<T>| waiting.message);
    (unread, taken)
}

impl<T> Unread<T> {
    /// Waits for a place for a message of so many bytes.
    ///
    /// # Errors
    /// [`NoPlace`]; the stream ends then.
    pub(super) async fn place(&self, bytes: usize) -> Result<Place<T>, NoPlace> {
        self.weigh(bytes, bytes).map_err(NoPlace::TooHeavy)?;
        self.room(bytes).await
    }

    /// Waits for a place for a chunk as events, before it is decoded: for all that they may take.
    ///
    /// # Errors
    /// [`NoPlace`]; the stream ends then.
    pub(super) async fn place_decoded(&self, chunk: &pb::LogChunk) -> Result<Place<T>, NoPlace> {
        let least = decoded::least(chunk);
        self.weigh(least, least).map_err(NoPlace::TooHeavy)?;
        self.room(decoded::most(chunk)).await
    }

    /// Makes the stream as heavy as the events of a chunk turn out to be; before they are put into their place.
    ///
    /// # Errors
    /// The stream may not become as heavy, and ends.
    pub(super) fn weigh_decoded(&self, chunk: &pb::LogChunk, events: &[Event]) -> Result<(), Problem> {
        let raw = decoded::raw(chunk);
        let bytes = raw.saturating_add(decoded::beside(events));
        // While they wait in the queue, what came before them is encoded.
        self.weigh(bytes, bytes.saturating_add(raw))
    }

    async fn room(&self, bytes: usize) -> Result<Place<T>, NoPlace> {
        let bytes = bytes.saturating_add(MESSAGE_BYTES);
        let bytes = u32::try_from(bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let slot = self.messages.clone().reserve_owned().await;
        match (room, slot) {
            (Ok(room), Ok(slot)) => Ok(Place { slot, room }),
            (Err(_), _) | (_, Err(_)) => Err(NoPlace::Gone),
        }
    }

    /// Makes the stream heavier when this is its largest message, and a large one; `in_all` is what it takes everywhere.
    fn weigh(&self, bytes: usize, in_all: usize) -> Result<(), Problem> {
        if bytes <= LARGE_BYTES {
            return Ok(());
        }
        let wanted = in_all.div_ceil(WEIGHT_BYTES).max(LARGE_WEIGHT);
        // A queue has one writer at a time.
        let has = self.more.load(Ordering::Relaxed);
        if wanted > has {
            self.weight.grow(wanted - has)?;
            self.more.store(wanted, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Puts a message of so many bytes into the queue, once there is a place.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub(super) async fn send(&self, message: T, bytes: usize) -> Result<(), NoPlace> {
        self.place(bytes).await?.put(message);
        Ok(())
    }

    /// Waits until the caller is gone.
    pub(super) async fn closed(&self) {
        self.messages.closed().await;
    }
}

/// What a message of a watch takes.
pub(super) fn bytes(sent: &Sent) -> usize {
    match sent {
        Sent::Task(view) => view.task.spec.len() + view.task.selector.len(),
        Sent::Execution(view) => view.attempts.len() * MESSAGE_BYTES,
        Sent::Chunk(chunk) => chunk.payload.len(),
        Sent::Events { events, .. } => decoded::beside(events),
        Sent::Heartbeat(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, pin_mut};

    use super::*;

    #[tokio::test]
    async fn bytes_that_nobody_takes_are_bounded_and_a_larger_message_waits_alone() {
        let (unread, taken) = queue(StreamWeight::default());
        pin_mut!(taken);
        let full = BYTES_MAX as usize - MESSAGE_BYTES;
        unread.send(1, full).await.unwrap();
        assert!(unread.send(2, 0).now_or_never().is_none(), "the second waits");
        assert_eq!(taken.next().await, Some(1));
        unread.send(3, 100 * full).await.unwrap();
        assert!(unread.send(4, 0).now_or_never().is_none(), "behind the large one, too");
        assert_eq!(taken.next().await, Some(3));
        for small in 0..MESSAGES_MAX {
            unread
                .send(small, 1)
                .now_or_never()
                .expect("small ones do not wait")
                .unwrap();
            // A test that never waits would use up what one turn of it may do.
            tokio::task::yield_now().await;
        }
        assert!(unread.send(0, 1).now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_waits_for_a_caller_that_goes_is_told() {
        let (unread, taken) = queue(StreamWeight::default());
        unread.send(1, BYTES_MAX as usize).await.unwrap();
        let (sent, ()) = tokio::join!(unread.send(2, 0), async { drop(taken) });
        assert!(matches!(sent, Err(NoPlace::Gone)), "{sent:?}");
        unread.closed().await;
    }
}
