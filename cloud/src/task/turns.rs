//! Turns of callers to read. The readers of callers are few (see [`Store::for_callers`](crate::store::Store::for_callers)),
//! and whoever asks for the widest lists without pause would have all of them. So each actor reads with two, and stands
//! behind itself.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls of one actor that read at the same time: half of the readers.
const OF_ONE: usize = 2;

/// The turns of all actors that read right now. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<DashMap<String, Arc<Semaphore>>>);

/// A call's turn; over when dropped.
pub(crate) struct Turn {
    turns: Turns,
    actor: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) async fn of(&self, actor: &str) -> Turn {
        let places = {
            // Its lock is not held while this waits.
            let entry = self.0.entry(actor.to_owned());
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(OF_ONE))).value())
        };
        Turn {
            turns: self.clone(),
            actor: actor.to_owned(),
            // Never closed, so the permit is always there.
            permit: places.acquire_owned().await.ok(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let nobody_waits = |_: &String, places: &Arc<Semaphore>| Arc::strong_count(places) == 1;
        self.turns.0.remove_if(&self.actor, nobody_waits);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_reads_much_stands_behind_itself_and_nobody_else_does() {
        let turns = Turns::default();
        let mut held: Vec<Turn> = Vec::new();
        for _ in 0..OF_ONE {
            held.push(turns.of("viewer").await);
        }
        assert!(turns.of("viewer").now_or_never().is_none(), "one more waits");
        assert!(turns.of("operator").now_or_never().is_some(), "somebody else does not");
        let mut next = Box::pin(turns.of("viewer"));
        assert!(next.as_mut().now_or_never().is_none());
        held.pop();
        held.push(next.await);
        held.clear();
        assert!(turns.0.is_empty(), "nothing is kept of those that read no more");
    }
}
