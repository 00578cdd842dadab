//! Who may do now what only some may do at the same time. Each actor has so many seats, and stands behind itself when it
//! wants more; when all together have a number too, in the line for it there is no actor more often than it has seats. So
//! whoever asks for the most without pause keeps somebody else waiting for one piece of work, not for a line of them.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats for one kind of work. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Seats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    of_one: usize,
    /// Absent when what is behind the seats has a limit of its own.
    in_all: Option<Arc<Semaphore>>,
    /// Of actors that have a seat or wait for one.
    actors: DashMap<String, Arc<Semaphore>>,
}

/// A seat; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    actor: String,
    own: Option<OwnedSemaphorePermit>,
    of_all: Option<OwnedSemaphorePermit>,
}

impl Seats {
    /// So many for each actor.
    pub(crate) fn of_each(of_one: usize) -> Self {
        Self::new(of_one, None)
    }

    /// So many for each actor, and so many in all.
    pub(crate) fn within(of_one: usize, in_all: usize) -> Self {
        Self::new(of_one, Some(Arc::new(Semaphore::new(in_all))))
    }

    fn new(of_one: usize, in_all: Option<Arc<Semaphore>>) -> Self {
        Self(Arc::new(Inner {
            of_one,
            in_all,
            actors: DashMap::new(),
        }))
    }

    /// Waits for a seat of this actor.
    pub(crate) async fn of(&self, actor: &str) -> Seat {
        // Before anything is waited for: it clears up after whoever goes away while it waits.
        let mut seat = Seat {
            seats: self.clone(),
            actor: actor.to_owned(),
            own: None,
            of_all: None,
        };
        let own = {
            // Its lock is not held while this waits.
            let entry = self.0.actors.entry(actor.to_owned());
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(self.0.of_one))).value())
        };
        // Neither is ever closed, so the permits are always there.
        seat.own = own.acquire_owned().await.ok();
        if let Some(in_all) = &self.0.in_all {
            seat.of_all = Arc::clone(in_all).acquire_owned().await.ok();
        }
        seat
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.of_all = None;
        self.own = None;
        let nobody_waits = |_: &String, own: &Arc<Semaphore>| Arc::strong_count(own) == 1;
        self.seats.0.actors.remove_if(&self.actor, nobody_waits);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_asks_for_much_stands_behind_itself_and_nobody_else_does() {
        let seats = Seats::of_each(2);
        let mut held = vec![seats.of("viewer").await, seats.of("viewer").await];
        assert!(seats.of("viewer").now_or_never().is_none(), "one more waits");
        assert!(seats.of("operator").now_or_never().is_some(), "somebody else does not");
        let mut next = Box::pin(seats.of("viewer"));
        assert!(next.as_mut().now_or_never().is_none());
        held.pop();
        held.push(next.await);
        held.clear();
        assert!(seats.0.actors.is_empty(), "nothing is kept of those that have none");
    }

    #[tokio::test]
    async fn in_the_line_of_all_nobody_stands_twice() {
        let seats = Seats::within(1, 2);
        let (a, b) = (seats.of("a").await, seats.of("b").await);
        let mut again = Box::pin(seats.of("a"));
        let mut other = Box::pin(seats.of("c"));
        assert!(again.as_mut().now_or_never().is_none());
        assert!(other.as_mut().now_or_never().is_none(), "there are two in all");
        drop(b);
        let c = other
            .now_or_never()
            .expect("before the one that asked first, and has a seat");
        assert!(again.as_mut().now_or_never().is_none());
        drop(a);
        let a = again.now_or_never().expect("its next turn");
        drop((a, c));
        assert!(seats.0.actors.is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_while_it_waits_leaves_nothing() {
        let seats = Seats::within(1, 1);
        let held = seats.of("a").await;
        for actor in ["a", "b"] {
            let mut gone = Box::pin(seats.of(actor));
            assert!(gone.as_mut().now_or_never().is_none());
        }
        assert_eq!(seats.0.actors.len(), 1);
        drop(held);
        assert!(seats.0.actors.is_empty());
        assert!(seats.of("b").now_or_never().is_some());
    }
}
