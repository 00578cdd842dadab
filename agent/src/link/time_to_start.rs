//! Until when a task may start. Pure.
//!
//! The cloud says with a task how long it may still take to start (its TTL); clocks of two machines cannot be compared, so
//! the time is counted here, from the task's arrival, on a clock that nobody sets. A frame may however have waited on its
//! way: in the network, or in the kernel while this process was stopped. What it waited is told by how much time has
//! passed since Welcome on this machine, and how much on the cloud's clock, from Welcome to the signature of the task,
//! which is made when the task leaves.

use std::time::Duration;

use opslink::time::UnixMicros;

/// When a task came, and what it may take to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// On the courier's clock.
    pub at: Duration,
    /// Time that was left when it left the cloud.
    pub ttl: Duration,
}

impl Arrival {
    /// A task that came now.
    pub(super) fn new(at: Duration, ttl_remaining_ms: u64) -> Self {
        Self {
            at,
            ttl: Duration::from_millis(ttl_remaining_ms),
        }
    }

    /// The end of the time in which it may start.
    pub(super) fn start_by(self, delay: Duration) -> Duration {
        self.at.saturating_add(self.ttl).saturating_sub(delay)
    }
}

/// The cloud's clock as it was at Welcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CloudClock(Option<(Duration, UnixMicros)>);

impl CloudClock {
    pub(super) fn read(now: Duration, time_us: i64) -> Self {
        // A cloud that does not tell its time cannot be compared with.
        Self((time_us > 0).then_some((now, UnixMicros(time_us))))
    }

    /// How long something that left at `issued` by the cloud's clock, and came at `arrived` by ours, was on its way.
    /// What cannot be told is none.
    pub(super) fn delay(self, arrived: Duration, issued_time_us: i64) -> Duration {
        let Some((welcomed, time)) = self.0.filter(|_| issued_time_us > 0) else {
            return Duration::ZERO;
        };
        let here = i128::try_from(arrived.saturating_sub(welcomed).as_micros()).unwrap_or(i128::MAX);
        let there = i128::from(issued_time_us) - i128::from(time.0);
        u64::try_from(here.saturating_sub(there)).map_or(Duration::ZERO, Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_frame_that_waited_on_its_way_has_less_time_left() {
        let clock = CloudClock::read(Duration::from_secs(100), 5_000 * SECOND);
        let delay = |arrived, issued: i64| clock.delay(Duration::from_secs(arrived), issued * SECOND).as_secs();
        assert_eq!(delay(110, 5_010), 0);
        assert_eq!(delay(3_710, 5_010), 3_600, "an hour in the kernel's buffer");
        assert_eq!(delay(105, 5_010), 0, "a clock that runs fast is no negative delay");
        let arrival = Arrival {
            at: Duration::from_secs(3_710),
            ttl: Duration::from_secs(30),
        };
        assert!(arrival.start_by(Duration::from_secs(3_600)) < arrival.at);
        assert_eq!(arrival.start_by(Duration::ZERO), Duration::from_secs(3_740));
    }

    #[test]
    fn without_the_clouds_time_nothing_is_told() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(CloudClock::default().delay(hour, SECOND), Duration::ZERO);
        assert_eq!(CloudClock::read(Duration::ZERO, 0).delay(hour, SECOND), Duration::ZERO);
        assert_eq!(CloudClock::read(Duration::ZERO, SECOND).delay(hour, 0), Duration::ZERO);
    }
}
