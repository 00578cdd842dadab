//! Which attempts have something new: a set, not a queue, so it is bounded by the number of attempts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use opslink::id::AttemptId;
use tokio::sync::Notify;

use super::Phase;

/// Collects changes until somebody takes them.
#[derive(Debug, Default)]
pub struct Notices {
    changed: Mutex<BTreeMap<AttemptId, Phase>>,
    wake: Notify,
}

impl Notices {
    /// Notes that the attempt has something new. A later phase wins over an earlier one.
    pub fn note(&self, id: AttemptId, phase: Phase) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = changed.entry(id).or_insert(phase);
        *noted = phase.max(*noted);
        drop(changed);
        self.wake.notify_one();
    }

    /// Waits until there is something, and takes all of it.
    pub async fn take(&self) -> Vec<(AttemptId, Phase)> {
        loop {
            let taken = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken.into_iter().collect();
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_come_once_and_the_latest_phase_wins() {
        let notices = Notices::default();
        let id = AttemptId::new();
        notices.note(id, Phase::Ended);
        notices.note(id, Phase::Running);
        assert_eq!(notices.take().await, [(id, Phase::Ended)]);
        assert!(futures::FutureExt::now_or_never(notices.take()).is_none());
    }
}
