//! Points in time, as they are stored and sent.

use std::{
    cell::Cell,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

thread_local! {
    static FIXED: Cell<Option<UnixMicros>> = const { Cell::new(None) };
}

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// Reads the system clock. Not for pure modules: they get their time as an argument.
    pub fn now() -> Self {
        if let Some(time) = Self::fixed() {
            return time;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// What the clock of this thread is fixed to.
    pub(crate) fn fixed() -> Option<Self> {
        FIXED.get()
    }

    /// Fixes the clock of this thread, or lets it go again: simulations, which are one thread, move time themselves.
    pub fn fix_clock(time: Option<Self>) {
        FIXED.set(time);
    }

    /// Returns the point `duration` later, at most the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// The time so long before; the earliest there is when there is none.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// Returns how long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC, to the second: for sentences.
impl fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1_000_000);
        prost_types::Timestamp { seconds, nanos: 0 }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc() {
        assert_eq!(UnixMicros(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UnixMicros(1_700_000_000_999_999).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(UnixMicros(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_fixed_clock_stands_still_on_its_own_thread_only() {
        UnixMicros::fix_clock(Some(UnixMicros(5)));
        assert_eq!(UnixMicros::now(), UnixMicros(5));
        assert!(std::thread::spawn(UnixMicros::now).join().unwrap() > UnixMicros(5));
        UnixMicros::fix_clock(None);
        assert!(UnixMicros::now() > UnixMicros(5));
    }
}
