//! Cancels of attempts that are not here: a cancel may overtake its task, since control frames pass tasks. What is
//! remembered keeps the attempt from starting, should it come.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use opslink::id::AttemptId;
use tokio::time::Instant;

/// So long a task may come after its cancel: as long as its envelope could be accepted.
const KEEP_FOR: Duration = Duration::from_secs(26 * 3600);

/// So many are remembered; of more, the oldest are forgotten. Most are of attempts that have ended here, and no task
/// follows a cancel by more than a few frames.
const KEEP_AT_MOST: usize = 4_096;

/// Remembers cancels, within limits.
#[derive(Debug, Default)]
pub(super) struct EarlyCancels {
    remembered: BTreeMap<AttemptId, Instant>,
    /// In the order of their coming.
    order: VecDeque<(AttemptId, Instant)>,
}

impl EarlyCancels {
    /// Remembers a cancel.
    pub(super) fn remember(&mut self, id: AttemptId) {
        let now = Instant::now();
        self.forget_old(now);
        self.remembered.insert(id, now);
        self.order.push_back((id, now));
        while self.order.len() > KEEP_AT_MOST {
            self.forget_oldest();
        }
    }

    /// Says whether the attempt was canceled before it came.
    pub(super) fn holds(&mut self, id: AttemptId) -> bool {
        self.forget_old(Instant::now());
        self.remembered.contains_key(&id)
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(_, at)| now.duration_since(*at) >= KEEP_FOR)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((id, at)) = self.order.pop_front()
            // Remembered again since: that one counts.
            && self.remembered.get(&id) == Some(&at)
        {
            self.remembered.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_remembers_within_its_limits() {
        let mut cancels = EarlyCancels::default();
        let (old, again) = (AttemptId::new(), AttemptId::new());
        cancels.remember(old);
        cancels.remember(again);
        tokio::time::advance(KEEP_FOR - Duration::from_secs(1)).await;
        assert!(cancels.holds(old));
        cancels.remember(again);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!cancels.holds(old) && cancels.holds(again));
        for _ in 0..KEEP_AT_MOST {
            cancels.remember(AttemptId::new());
        }
        assert!(!cancels.holds(again));
        assert_eq!(cancels.remembered.len(), KEEP_AT_MOST);
        assert_eq!(cancels.order.len(), KEEP_AT_MOST);
    }
}
