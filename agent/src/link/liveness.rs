//! In which stage a link is, and whether the cloud still answers. Pure.

use std::time::Duration;

use opslink::session::heartbeat::{Beat, Heartbeat};

/// Longest wait for Welcome: longer than the cloud's own wait for its store.
const WELCOME_WITHIN: Duration = Duration::from_secs(45);

/// The link is dead after this many ping intervals without a frame.
const MISSED_HEARTBEATS: u32 = 3;

/// The stages of a link; the chart is in [`super::courier`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Down,
    /// Hello is on its way.
    Greeting {
        deadline: Duration,
    },
    Up {
        heartbeat: Heartbeat,
    },
}

impl Link {
    pub(super) fn greeting(now: Duration) -> Self {
        Self::Greeting {
            deadline: now + WELCOME_WITHIN,
        }
    }

    /// The cloud promises a ping in each interval.
    pub(super) fn up(interval: Duration, now: Duration) -> Self {
        Self::Up {
            heartbeat: Heartbeat::listening(interval, MISSED_HEARTBEATS, now),
        }
    }

    pub(super) fn heard(&mut self, now: Duration) {
        if let Self::Up { heartbeat } = self {
            heartbeat.heard(now);
        }
    }

    /// When [`Self::dead_after`] is to be asked.
    pub(super) fn deadline(&mut self, now: Duration) -> Option<Duration> {
        match self {
            Self::Down => None,
            Self::Greeting { deadline } => Some(*deadline),
            Self::Up { heartbeat } => match heartbeat.step(now) {
                Beat::Wait { until } => Some(until),
                // An agent does not ping; whichever it is, now is the time.
                Beat::Dead { .. } | Beat::Ping { .. } => Some(now),
            },
        }
    }

    /// How long the cloud has been silent, once that is too long.
    pub(super) fn dead_after(&mut self, now: Duration) -> Option<Duration> {
        match self {
            Self::Down => None,
            Self::Greeting { deadline } => {
                let late = now.checked_sub(*deadline)?;
                Some(WELCOME_WITHIN + late)
            }
            Self::Up { heartbeat } => match heartbeat.step(now) {
                Beat::Dead { silence } => Some(silence),
                Beat::Wait { .. } | Beat::Ping { .. } => None,
            },
        }
    }
}
