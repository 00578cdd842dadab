//! A pace: one so often, and several at once after a pause.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    each: Duration,
    at_once: u32,
    /// When as many can be taken at once as there ever are.
    until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_sec: u32, at_once: usize) -> Self {
        Self {
            each: Duration::from_secs(1) / per_sec.max(1),
            at_once: u32::try_from(at_once).unwrap_or(u32::MAX),
            until: None,
        }
    }

    /// Says whether one can be taken now that leaves so many.
    pub(super) fn has_one_beside(&self, kept: usize, now: Instant) -> bool {
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        let taken = self.until.map(|until| until.saturating_duration_since(now));
        taken.unwrap_or_default() + self.each <= self.each * self.at_once.saturating_sub(kept)
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.until = Some(self.until.map_or(now, |until| until.max(now)) + self.each);
    }

    /// Gives one back that was taken.
    pub(super) fn give_back(&mut self) {
        self.until = self.until.and_then(|until| until.checked_sub(self.each));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_several_are_there_at_once_and_then_one_so_often() {
        let mut pace = Pace::new(10, 4);
        let mut take = |kept: usize| {
            let now = Instant::now();
            let has = pace.has_one_beside(kept, now);
            if has {
                pace.take(now);
            }
            has
        };
        assert_eq!(
            [2, 2, 2, 0, 0, 0].map(&mut take),
            [true, true, false, true, true, false]
        );
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!([1, 0, 0].map(&mut take), [false, true, false]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!([0; 5].map(&mut take), [true, true, true, true, false]);
        pace.give_back();
        assert!(pace.has_one_beside(0, Instant::now()));
    }
}
