//! How long to wait before the next dial: full jitter, so that a thousand agents do not come back in one wave.

use std::time::Duration;

/// Ceiling of the first wait.
pub const FIRST: Duration = Duration::from_secs(1);
/// Ceiling of every later wait.
pub const LAST: Duration = Duration::from_secs(60);

/// Doubles a ceiling with each failure and waits a random part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullJitter {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Default for FullJitter {
    fn default() -> Self {
        Self::new(FIRST, LAST)
    }
}

impl FullJitter {
    /// Makes one with other ceilings.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            failures: 0,
        }
    }

    /// Returns how long to wait after one more failure.
    ///
    /// `random` is from 0 to 1, evenly; `retry_after` is what the other end asked for at least, and is jittered too:
    /// it asked everybody.
    pub fn failed(&mut self, random: f64, retry_after: Option<Duration>) -> Duration {
        let random = if random.is_finite() {
            random.clamp(0.0, 1.0)
        } else {
            1.0
        };
        let ceiling = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(self.last);
        self.failures = self.failures.saturating_add(1);
        let floor = retry_after.unwrap_or_default().min(self.last);
        floor + ceiling.mul_f64(random)
    }

    /// Notes that a link came up.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_a_minute_and_begins_again_after_success() {
        let mut backoff = FullJitter::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.failed(1.0, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5, None), Duration::from_millis(500));
        assert_eq!(
            backoff.failed(0.0, Some(Duration::from_secs(5))),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn a_hostile_retry_after_does_not_switch_an_agent_off() {
        assert!(FullJitter::default().failed(1.0, Some(Duration::MAX)) <= LAST + FIRST);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_allowed(randoms in proptest::collection::vec(any::<f64>(), 1..90)) {
            let mut backoff = FullJitter::default();
            for random in randoms {
                prop_assert!(backoff.failed(random, None) <= LAST);
            }
        }
    }
}
