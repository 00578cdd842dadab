//! Memory of calls: bodies that come in and answers that nobody took yet, in bytes, of each actor and of all.
//!
//! ```text
//! headers ──► a list: 4 MiB of its answer ──► a body's first 64 KiB ──► all that its message says it has ──► the handler
//!         ──► the whole answer ──► taken
//! ```
//!
//! Each of these steps has a room of its own, and nobody waits in an earlier room while it has something of a later one: in
//! one room, calls that come together would each keep what the others wait for.
//!
//! What is asked for is taken at once while there is room, and waits for five seconds otherwise; nothing is read and no
//! handler is called meanwhile. An actor has a quarter of each room at most, and the last quarter is for those that hold little:
//! who takes all there is shuts nobody out. Actors share nothing but two counters, so nobody waits for anybody's lock.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// What is counted, in bytes.
const UNIT: usize = 1 << 10;
/// How large a room is, in units.
#[derive(Debug, Clone, Copy)]
struct Size {
    of_one: usize,
    shared: usize,
    /// For those that hold no more than `little`.
    kept: usize,
    little: usize,
}

/// 2 MiB of one actor, 8 MiB of all; a body begins with 64 KiB.
const BEGINNINGS: Size = Size {
    of_one: 2 << 10,
    shared: 6 << 10,
    kept: 2 << 10,
    little: 1 << 9,
};
/// 6 MiB of one actor, 24 MiB of all; the largest request has 2 MiB.
const REQUESTS: Size = Size {
    of_one: 6 << 10,
    shared: 18 << 10,
    kept: 6 << 10,
    little: 2 << 10,
};
/// 8 MiB of one actor, 32 MiB of all; a list has 4 MiB before it is there, what was done up to 3 MiB.
const ANSWERS: Size = Size {
    of_one: 8 << 10,
    shared: 24 << 10,
    kept: 8 << 10,
    little: 4 << 10,
};
/// Longest wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls of one actor that wait; others are refused at once.
const WAITING: usize = 128;

/// The memory that calls may take of one cloud. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<All>);

#[derive(Debug)]
struct All {
    size: Size,
    shared: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    /// Of those that hold something or wait for it.
    actors: Mutex<HashMap<Arc<str>, Weak<Share>>>,
}

/// What one actor may take.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<All>,
    actor: Arc<str>,
    own: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// So many bytes; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Held {
    own: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    _share: Arc<Share>,
}

impl Room {
    /// Of the beginnings of bodies.
    pub(super) fn of_beginnings() -> Self {
        Self::new(BEGINNINGS)
    }

    /// Of bodies that are larger than their beginnings.
    pub(super) fn of_requests() -> Self {
        Self::new(REQUESTS)
    }

    /// Of answers until they are taken.
    pub(super) fn of_answers() -> Self {
        Self::new(ANSWERS)
    }

    fn new(size: Size) -> Self {
        Self(Arc::new(All {
            size,
            shared: Arc::new(Semaphore::new(size.shared)),
            kept: Arc::new(Semaphore::new(size.kept)),
            actors: Mutex::default(),
        }))
    }

    /// The share of an actor.
    pub(super) fn share(&self, actor: &str) -> Arc<Share> {
        let mut actors = self.0.lock();
        if let Some(share) = actors.get(actor).and_then(Weak::upgrade) {
            return share;
        }
        let actor: Arc<str> = actor.into();
        let share = Arc::new(Share {
            all: Arc::clone(&self.0),
            actor: Arc::clone(&actor),
            own: Arc::new(Semaphore::new(self.0.size.of_one)),
            waiting: AtomicUsize::new(0),
        });
        actors.insert(actor, Arc::downgrade(&share));
        share
    }
}

impl All {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Share>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In whole units.
fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

fn try_acquire(semaphore: &Arc<Semaphore>, units: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(units).ok()?;
    Arc::clone(semaphore).try_acquire_many_owned(units).ok()
}

async fn acquire(semaphore: &Arc<Semaphore>, units: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(units).ok()?;
    Arc::clone(semaphore).acquire_many_owned(units).await.ok()
}

impl Share {
    /// Takes so many bytes at once; `None` when there is no room now.
    pub(super) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let units = units(bytes);
        let own = try_acquire(&self.own, units)?;
        let of_all = try_acquire(&self.all.shared, units);
        let of_all = match of_all {
            None if self.holds_little() => try_acquire(&self.all.kept, units)?,
            of_all => of_all?,
        };
        Some(self.held(own, of_all))
    }

    /// Takes so many bytes; `None` when there is no room for too long, or when too many calls of the actor wait for it.
    pub(super) async fn take(self: Arc<Self>, bytes: usize) -> Option<Held> {
        if let Some(held) = self.try_take(bytes) {
            return Some(held);
        }
        let _waits = Waits::of(&self)?;
        timeout(PATIENCE, self.wait(units(bytes))).await.ok()?
    }

    async fn wait(self: &Arc<Self>, units: usize) -> Option<Held> {
        let own = acquire(&self.own, units).await?;
        let of_all = match try_acquire(&self.all.shared, units) {
            Some(of_all) => of_all,
            None if self.holds_little() => acquire(&self.all.kept, units).await?,
            None => acquire(&self.all.shared, units).await?,
        };
        Some(self.held(own, of_all))
    }

    fn holds_little(&self) -> bool {
        let Size { of_one, little, .. } = self.all.size;
        of_one.saturating_sub(self.own.available_permits()) <= little
    }

    fn held(self: &Arc<Self>, own: OwnedSemaphorePermit, of_all: OwnedSemaphorePermit) -> Held {
        Held {
            own,
            of_all,
            _share: Arc::clone(self),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut actors = self.all.lock();
        // A new one may stand there already.
        if actors.get(&self.actor).is_some_and(|share| share.strong_count() == 0) {
            actors.remove(&self.actor);
        }
    }
}

impl Held {
    /// How many bytes it has, in whole units.
    pub(super) fn bytes(&self) -> usize {
        self.own.num_permits() * UNIT
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.own.num_permits().saturating_sub(units(bytes));
        drop(self.own.split(surplus));
        drop(self.of_all.split(surplus));
    }
}

/// A call that waits for room.
struct Waits<'a>(&'a Share);

impl<'a> Waits<'a> {
    fn of(share: &'a Share) -> Option<Self> {
        let waits = Self(share);
        (share.waiting.fetch_add(1, Ordering::AcqRel) < WAITING).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn take_all(share: &Arc<Share>, bytes: usize) -> Vec<Held> {
        std::iter::from_fn(|| share.try_take(bytes)).collect()
    }

    #[test]
    fn an_actor_has_a_quarter_and_gets_it_back() {
        let room = Room::of_requests();
        let share = room.share("token:a");
        let mut all = take_all(&share, 2 * MIB);
        assert_eq!(all.len(), 3);
        assert!(room.share("token:b").try_take(2 * MIB).is_some());
        // What turns out to be small makes room.
        all[0].shrink(100);
        assert_eq!(all[0].bytes(), UNIT);
        assert!(room.share("token:a").try_take(MIB).is_some());
        drop((all, share));
        assert!(room.0.lock().is_empty(), "nothing is left of them");
        assert_eq!(room.0.shared.available_permits(), REQUESTS.shared);
        assert_eq!(take_all(&room.share("token:a"), 2 * MIB).len(), 3);
    }

    #[test]
    fn those_that_take_all_they_get_leave_some_to_others() {
        let room = Room::of_requests();
        let greedy = (0..3).flat_map(|n| take_all(&room.share(&format!("token:{n}")), MIB));
        let greedy: Vec<Held> = greedy.collect();
        assert_eq!(greedy.len(), 18);
        assert!(room.share("token:0").try_take(MIB).is_none());
        let honest = take_all(&room.share("token:honest"), 2 * MIB);
        assert_eq!(honest.len(), 1, "what it may have of the last quarter");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_gets_what_is_given_back_and_the_crowd_is_refused() {
        let room = Room::of_requests();
        let share = room.share("token:a");
        let mut all = take_all(&share, 2 * MIB);
        let late = tokio::spawn(room.share("token:a").take(2 * MIB));
        let mut crowd = Vec::new();
        for _ in 0..WAITING + 10 {
            crowd.push(tokio::spawn(room.share("token:a").take(2 * MIB)));
        }
        while share.waiting.load(Ordering::Acquire) < WAITING {
            tokio::task::yield_now().await;
        }
        all.pop();
        assert!(late.await.unwrap().is_some());
        let mut got = 0;
        for one in crowd {
            got += u32::from(one.await.unwrap().is_some());
        }
        // The one place of the first goes round.
        assert_eq!(got as usize, WAITING - 1);
        let refused = share.clone().take(4 * MIB).await;
        assert!(refused.is_none(), "after five seconds");
        assert_eq!(share.waiting.load(Ordering::Acquire), 0);
    }
}
