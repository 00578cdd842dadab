//! Limits of attempts, in memory: what is asked before anything is asked of the store. Of passwords and joins per address,
//! of renewals per address and per agent; tries of one account are rows ([`super::tries`]).
//!
//! A token bucket as one time per key (GCRA): the time at which the bucket is full again. An attempt is paid before
//! the password is looked at and given back when it was right.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Most keys that are remembered; above it, full buckets are forgotten, then everything.
const MAX_KEYS: usize = 20_000;

/// Limits of one kind of key.
#[derive(Debug)]
pub(crate) struct Attempts {
    burst: u32,
    every: Duration,
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Attempts {
    /// `burst` attempts at once, then one each `every`.
    pub(crate) fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            full_at: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one attempt; when there is none, says how long to wait for one.
    pub(crate) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_KEYS && !full_at.contains_key(key) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MAX_KEYS {
                full_at.clear();
            }
        }
        let at = full_at.get(key).copied().unwrap_or(now).max(now);
        let allowed = self.every * self.burst.saturating_sub(1);
        match (at - now).checked_sub(allowed) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => {
                full_at.insert(key.to_owned(), at + self.every);
                Ok(())
            }
        }
    }

    /// Gives one attempt back.
    pub(crate) fn give_back(&self, key: &str) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = full_at.get_mut(key)
            && let Some(earlier) = at.checked_sub(self.every)
        {
            *at = earlier;
        }
    }
}

/// One bucket per IPv4 address or IPv6 /64: who has one of those has all of its addresses.
pub(crate) fn address_key(peer: &str) -> String {
    match peer.parse::<SocketAddr>().map(|address| address.ip().to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let attempts = Attempts::new(3, 10 * SECOND);
        let now = Instant::now();
        for _ in 0..3 {
            attempts.take("a", now).unwrap();
        }
        assert_eq!(attempts.take("a", now), Err(10 * SECOND));
        assert_eq!(attempts.take("a", now + 4 * SECOND), Err(6 * SECOND));
        attempts.take("a", now + 10 * SECOND).unwrap();
        assert!(attempts.take("a", now + 10 * SECOND).is_err());
        attempts.take("b", now).unwrap();
    }

    #[test]
    fn a_right_password_costs_nothing() {
        let attempts = Attempts::new(1, 10 * SECOND);
        let now = Instant::now();
        for _ in 0..50 {
            attempts.take("a", now).unwrap();
            attempts.give_back("a");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::new(1, SECOND);
        let now = Instant::now();
        for key in 0..2 * MAX_KEYS {
            attempts.take(&key.to_string(), now).unwrap();
        }
        assert!(attempts.full_at.lock().unwrap().len() <= MAX_KEYS);
    }

    #[test]
    fn addresses_of_one_network_share_a_bucket() {
        assert_eq!(address_key("10.0.0.1:1"), address_key("10.0.0.1:2"));
        assert_ne!(address_key("10.0.0.1:1"), address_key("10.0.0.2:1"));
        assert_eq!(address_key("[2001:db8::1]:1"), address_key("[2001:db8::ffff]:9"));
        assert_ne!(address_key("[2001:db8::1]:1"), address_key("[2001:db8:0:1::1]:1"));
        assert_eq!(address_key("[::ffff:10.0.0.1]:1"), address_key("10.0.0.1:1"));
    }
}
