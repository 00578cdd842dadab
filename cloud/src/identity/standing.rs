//! What one connection is to us: a stranger until it has shown something valid.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Calls of one connection, of those that anybody may make, whose bodies are not read to their end. Further ones wait.
const OPEN_BODIES: usize = 4;

/// Calls of a stranger's connection that may wait: for their turn, or until somebody knows whose they are. What waits
/// keeps its headers in memory (8 KiB at most, and about as much for its task), which no flow control holds back, so the
/// others are refused at once.
const WAITING: usize = 4;

/// Calls of strangers, of all connections of a listener, up to which one connection may have more than [`WAITING`] whose
/// credentials are being looked at: a program may begin with a hundred. With 128 strangers 256 + 128 × 4 calls of 16 KiB
/// are 12 MiB.
const WAITING_IN_ALL: usize = 256;

/// Longest wait of such a call for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Calls of a stranger's connection that may be refused at once, and then one each so often; above it the connection ends.
/// A refusal costs little, but its headers came first.
const REFUSED: u32 = 400;
const REFUSED_EVERY: Duration = Duration::from_millis(20);

/// The calls of strangers that wait, of all connections of a listener.
#[derive(Debug, Default)]
pub struct Strangers {
    waiting: AtomicUsize,
}

/// The standing of a connection; one for all of its requests.
#[derive(Debug)]
pub struct Standing {
    known: CancellationToken,
    /// Who it was that showed something first; whoever comes later over the same connection is counted as the same.
    actor: OnceLock<Arc<str>>,
    has_link: AtomicBool,
    bodies: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// When as many calls may be refused again as at the beginning.
    refused_until: Mutex<Option<Instant>>,
    tiresome: CancellationToken,
    of_all: Arc<Strangers>,
}

impl Standing {
    /// The standing of a new connection: a stranger, one of these.
    pub fn new(of_all: Arc<Strangers>) -> Self {
        Self {
            known: CancellationToken::new(),
            actor: OnceLock::new(),
            has_link: AtomicBool::new(false),
            bodies: Arc::new(Semaphore::new(OPEN_BODIES)),
            waiting: AtomicUsize::new(0),
            refused_until: Mutex::default(),
            tiresome: CancellationToken::new(),
            of_all,
        }
    }

    /// Something valid was shown: a session, a token, an agent's certificate. It is this actor's.
    pub fn make_known(&self, actor: &str) {
        if !self.is_known() {
            self.actor.get_or_init(|| actor.into());
            self.known.cancel();
        }
    }

    /// Who it was that showed something first.
    pub fn actor(&self) -> Option<Arc<str>> {
        self.actor.get().cloned()
    }

    /// Says whether something valid was shown.
    pub fn is_known(&self) -> bool {
        self.known.is_cancelled()
    }

    /// Waits until something valid is shown.
    pub async fn known(&self) {
        self.known.cancelled().await;
    }

    /// A call was refused. A stranger whose calls are refused on and on is told no more.
    pub(crate) fn refused(&self) {
        if self.is_known() {
            return;
        }
        let now = Instant::now();
        let mut until = self.refused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let next = until.unwrap_or(now).max(now) + REFUSED_EVERY;
        *until = Some(next);
        if next > now + REFUSED_EVERY * REFUSED {
            self.tiresome.cancel();
        }
    }

    /// Waits until too many calls of a stranger were refused.
    pub async fn tiresome(&self) {
        self.tiresome.cancelled().await;
    }

    /// Takes the connection's one link; false when it is taken.
    pub fn take_link(self: &Arc<Self>) -> Option<LinkTaken> {
        let taken = self.has_link.swap(true, Ordering::AcqRel);
        (!taken).then(|| LinkTaken(Arc::clone(self)))
    }

    /// Waits for leave to read the body of a call that anybody may make; `None` when it takes too long, or when too
    /// many calls of a stranger wait already.
    pub(crate) async fn body_turn(&self) -> Option<OwnedSemaphorePermit> {
        // A free turn is nobody's: one that is given back goes to who waits, if anybody does.
        if let Ok(turn) = Arc::clone(&self.bodies).try_acquire_owned() {
            return Some(turn);
        }
        let _waits = self.wait(0)?;
        timeout(TURN, Arc::clone(&self.bodies).acquire_owned()).await.ok()?.ok()
    }

    /// Leave to look at the credentials of a call; `None` when too many calls of strangers wait for that already.
    pub(crate) fn look(&self) -> Option<Waits<'_>> {
        self.wait(WAITING_IN_ALL)
    }

    /// Takes a place among those that wait; more than [`WAITING`] of them while all strangers have fewer than `in_all`.
    /// Who showed something has as many as it may have streams.
    fn wait(&self, in_all: usize) -> Option<Waits<'_>> {
        if self.is_known() {
            return Some(Waits(None));
        }
        let place = Waits(Some(self));
        let own = self.waiting.fetch_add(1, Ordering::AcqRel);
        let all = self.of_all.waiting.fetch_add(1, Ordering::AcqRel);
        (own < WAITING || all < in_all).then_some(place)
    }
}

/// A place among those that wait; given back also when the call is given up.
pub(crate) struct Waits<'a>(Option<&'a Standing>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(standing) = self.0 {
            standing.waiting.fetch_sub(1, Ordering::AcqRel);
            standing.of_all.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The link of a connection; dropping it makes room for the next one.
#[derive(Debug)]
pub struct LinkTaken(Arc<Standing>);

impl Drop for LinkTaken {
    fn drop(&mut self) {
        self.0.has_link.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    /// A hundred calls at once, each looked at once.
    async fn calls(standing: &Arc<Standing>) -> Vec<JoinHandle<Option<OwnedSemaphorePermit>>> {
        let calls = (0..100)
            .map(|_| {
                let standing = Arc::clone(standing);
                tokio::spawn(async move { standing.body_turn().await })
            })
            .collect();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        calls
    }

    fn unfinished(calls: &[JoinHandle<Option<OwnedSemaphorePermit>>]) -> usize {
        calls.iter().filter(|call| !call.is_finished()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn few_calls_of_a_stranger_wait_and_the_others_are_refused_at_once() {
        let standing = Arc::new(Standing::new(Arc::default()));
        let first = calls(&standing).await;
        assert_eq!(
            unfinished(&first),
            WAITING,
            "four have a turn, and the others were refused"
        );
        // Given up, they leave nothing behind: as many may wait as before.
        for call in &first {
            call.abort();
        }
        let mut turns = Vec::new();
        for call in first {
            turns.extend(call.await.ok().flatten());
        }
        assert_eq!(turns.len(), OPEN_BODIES);
        let second = calls(&standing).await;
        assert_eq!(unfinished(&second), WAITING);
        // A turn that is given back goes to the first that waits.
        turns.pop();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(unfinished(&second), WAITING - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_showed_something_waits_with_every_call() {
        let standing = Arc::new(Standing::new(Arc::default()));
        standing.make_known("ann");
        standing.make_known("token:other");
        assert_eq!(standing.actor().as_deref(), Some("ann"));
        assert_eq!(unfinished(&calls(&standing).await), 100 - OPEN_BODIES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_whose_calls_are_refused_on_and_on_is_told_no_more() {
        let standing = Standing::new(Arc::default());
        for _ in 0..REFUSED {
            standing.refused();
        }
        assert!(!standing.tiresome.is_cancelled());
        tokio::time::advance(10 * REFUSED_EVERY).await;
        for _ in 0..10 {
            standing.refused();
        }
        assert!(!standing.tiresome.is_cancelled());
        standing.refused();
        standing.tiresome().await;
        let known = Standing::new(Arc::default());
        known.make_known("ann");
        for _ in 0..10 * REFUSED {
            known.refused();
        }
        assert!(!known.tiresome.is_cancelled());
    }

    #[test]
    fn many_credentials_are_looked_at_for_one_stranger_and_few_for_each_of_a_crowd() {
        let all = Arc::<Strangers>::default();
        let crowd = Standing::new(Arc::clone(&all));
        let places: Vec<_> = (0..2 * WAITING_IN_ALL).map_while(|_| crowd.look()).collect();
        assert_eq!(places.len(), WAITING_IN_ALL);
        let other = Standing::new(Arc::clone(&all));
        let few: Vec<_> = (0..100).map_while(|_| other.look()).collect();
        assert_eq!(few.len(), WAITING);
        other.make_known("ann");
        assert!(other.look().is_some(), "who showed something waits for nobody");
        drop((places, few));
        assert_eq!(all.waiting.load(Ordering::Acquire), 0);
        assert!(crowd.look().is_some());
    }
}
