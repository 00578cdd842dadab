//! Recent look-ups of sessions and tokens, so that a warm call does not ask the database.
//!
//! Entries live at most two seconds: that is how late a revocation on another replica is seen. A revocation on this
//! one empties the cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::Instant;

use super::Caller;

/// Longest trust in what the store said.
const TRUST: Duration = Duration::from_secs(2);

/// Most entries; above it, everything is forgotten.
const MAX_ENTRIES: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: DashMap<[u8; 32], (Arc<Caller>, Instant)>,
    generation: AtomicU64,
}

impl Cache {
    pub(super) fn get(&self, hash: &[u8; 32], now: Instant) -> Option<Arc<Caller>> {
        let entry = self.entries.get(hash)?;
        let (caller, until) = entry.value();
        (now < *until).then(|| Arc::clone(caller))
    }

    /// Returns what [`Self::put`] needs; to be read before the store is asked.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps an answer of the store, unless something was revoked while it was asked. `expires_in` is what is left of
    /// the session or token.
    pub(super) fn put(&self, hash: [u8; 32], caller: Arc<Caller>, expires_in: Duration, now: Instant, generation: u64) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.clear();
        }
        self.entries.insert(hash, (caller, now + TRUST.min(expires_in)));
        if self.generation() != generation {
            self.entries.remove(&hash);
        }
    }

    /// Forgets everything: something was revoked.
    pub(super) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }
}
