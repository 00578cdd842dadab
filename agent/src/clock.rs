//! A clock that nobody sets and that goes on while the machine sleeps; under a simulation it is the simulation's.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// A machine that sleeps does so for longer.
const SHORTEST_SLEEP: Duration = Duration::from_secs(2);

/// Counts from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    epoch: Instant,
    /// What the machine had slept by then.
    slept: Duration,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
            slept: slept(),
        }
    }

    /// Time since its start.
    pub fn now(&self) -> Duration {
        let slept = slept().saturating_sub(self.slept);
        // Two readings are never of the same moment: what is little is that, and no sleep.
        let slept = if slept < SHORTEST_SLEEP { Duration::ZERO } else { slept };
        self.epoch.elapsed() + slept
    }

    /// The moment to wait for.
    pub fn instant(&self, at: Duration) -> Instant {
        Instant::now() + at.saturating_sub(self.now())
    }
}

/// An end of time on a [`Clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    clock: Clock,
    at: Duration,
}

impl Deadline {
    /// `at` on this clock.
    pub fn new(clock: Clock, at: Duration) -> Self {
        Self { clock, at }
    }

    /// So much from now on.
    pub fn after(time: Duration) -> Self {
        let clock = Clock::start();
        Self { clock, at: time }
    }

    /// Says whether it has passed.
    pub fn is_over(&self) -> bool {
        self.clock.now() >= self.at
    }
}

/// How long the machine has slept since it was started: the one clock counts it, the other does not.
fn slept() -> Duration {
    let duration = |time: Timespec| {
        let secs = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
    };
    let awake = duration(clock_gettime(ClockId::Monotonic));
    let all = duration(clock_gettime(ClockId::Boottime));
    all.saturating_sub(awake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_with_the_simulated_time() {
        let deadline = Deadline::after(Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(!deadline.is_over());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(deadline.is_over());
    }
}
