//! When to ping, and when the other end is dead.
//!
//! Every frame is a sign of life; a ping asks for one. After so many intervals of silence the link is dead: a
//! partition without FIN is noticed after three times 15 s at most. The cloud pings; the agent only listens, since it
//! hears a ping each interval.
//!
//! # Units
//! `now` is the time since any fixed moment, on a monotonic clock.

use std::time::Duration;

/// The state of one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    interval: Duration,
    missed_max: u32,
    pings: bool,
    last_heard: Duration,
    next_ping: Duration,
    nonce: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before this time, unless a frame comes.
    Wait {
        /// When to ask again.
        until: Duration,
    },
    /// Send a ping, then ask again.
    Ping {
        /// Grows by one each.
        nonce: u64,
    },
    /// Give the link up.
    Dead {
        /// How long nothing was heard.
        silence: Duration,
    },
}

impl Heartbeat {
    /// Makes the end that pings each interval.
    pub fn pinging(interval: Duration, missed_max: u32, now: Duration) -> Self {
        Self::new(interval, missed_max, now, true)
    }

    /// Makes the end that only listens.
    pub fn listening(interval: Duration, missed_max: u32, now: Duration) -> Self {
        Self::new(interval, missed_max, now, false)
    }

    fn new(interval: Duration, missed_max: u32, now: Duration, pings: bool) -> Self {
        // A heartbeat of zero would be a busy loop.
        let interval = interval.max(Duration::from_millis(1));
        Self {
            interval,
            missed_max: missed_max.max(1),
            pings,
            last_heard: now,
            next_ping: now + interval,
            nonce: 0,
        }
    }

    /// Notes that a frame, any frame, came.
    pub fn heard(&mut self, now: Duration) {
        self.last_heard = self.last_heard.max(now);
    }

    /// Decides.
    pub fn step(&mut self, now: Duration) -> Beat {
        let deadline = self.last_heard + self.interval * self.missed_max;
        if now >= deadline {
            return Beat::Dead {
                silence: now.saturating_sub(self.last_heard),
            };
        }
        if self.pings && now >= self.next_ping {
            // Not `+= interval`: a process that was stopped for an hour does not owe 240 pings.
            self.next_ping = now + self.interval;
            self.nonce += 1;
            return Beat::Ping { nonce: self.nonce };
        }
        Beat::Wait {
            until: if self.pings {
                deadline.min(self.next_ping)
            } else {
                deadline
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_end_is_pinged_and_then_dead_after_three_intervals() {
        let mut heartbeat = Heartbeat::pinging(15 * SECOND, 3, Duration::ZERO);
        assert_eq!(heartbeat.step(Duration::ZERO), Beat::Wait { until: 15 * SECOND });
        assert_eq!(heartbeat.step(15 * SECOND), Beat::Ping { nonce: 1 });
        assert_eq!(heartbeat.step(15 * SECOND), Beat::Wait { until: 30 * SECOND });
        assert_eq!(heartbeat.step(30 * SECOND), Beat::Ping { nonce: 2 });
        assert_eq!(heartbeat.step(44 * SECOND), Beat::Wait { until: 45 * SECOND });
        assert_eq!(heartbeat.step(45 * SECOND), Beat::Dead { silence: 45 * SECOND });
    }

    #[test]
    fn the_listening_end_never_pings() {
        let mut heartbeat = Heartbeat::listening(SECOND, 3, Duration::ZERO);
        assert_eq!(heartbeat.step(2 * SECOND), Beat::Wait { until: 3 * SECOND });
        heartbeat.heard(2 * SECOND);
        assert_eq!(heartbeat.step(3 * SECOND), Beat::Wait { until: 5 * SECOND });
        assert_eq!(heartbeat.step(5 * SECOND), Beat::Dead { silence: 3 * SECOND });
    }

    #[test]
    fn a_process_that_slept_sends_one_ping_not_many() {
        let mut heartbeat = Heartbeat::pinging(SECOND, 9_999, Duration::ZERO);
        assert_eq!(heartbeat.step(500 * SECOND), Beat::Ping { nonce: 1 });
        assert_eq!(heartbeat.step(500 * SECOND), Beat::Wait { until: 501 * SECOND });
    }

    proptest! {
        #[test]
        fn it_is_dead_exactly_when_silent_for_too_long_and_never_loops(
            steps in proptest::collection::vec((0..4_000_u64, any::<bool>()), 1..60),
        ) {
            let mut heartbeat = Heartbeat::pinging(SECOND, 3, Duration::ZERO);
            let (mut now, mut heard) = (Duration::ZERO, Duration::ZERO);
            for (millis, hears) in steps {
                now += Duration::from_millis(millis);
                if hears {
                    heartbeat.heard(now);
                    heard = now;
                }
                let beat = heartbeat.step(now);
                let dead = matches!(beat, Beat::Dead { .. });
                prop_assert_eq!(dead, now - heard >= 3 * SECOND);
                match beat {
                    Beat::Dead { .. } => return Ok(()),
                    Beat::Wait { until } => prop_assert!(until > now),
                    Beat::Ping { .. } => {
                        let again = matches!(heartbeat.step(now), Beat::Ping { .. });
                        prop_assert!(!again);
                    }
                }
            }
        }
    }
}
