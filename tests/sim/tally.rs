//! What went wrong in a run, counted, so that a set of runs can prove that each kind of trouble was there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Counters by what they count. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Tally {
    /// Every kind of trouble that a large set of runs must have seen, beside those of [`crate::faults::Kind`].
    pub(crate) const ALL: [&'static str; 16] = [
        "agent died at its launcher",
        "agent never came back",
        "agent was removed",
        "big row",
        "cloud died at the store",
        "cloud stood still for long",
        "cloud was dead for long",
        "database went back in time",
        "person hung up",
        "person vanished",
        "row was not readable",
        "signal was lost",
        "store lost an answer",
        "store refused",
        "store was away for long",
        "store was slow",
    ];

    /// Counts one more.
    pub(crate) fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Returns what was counted.
    pub(crate) fn read(&self) -> BTreeMap<&'static str, u32> {
        self.0.lock().unwrap().clone()
    }
}
