//! Processes that die, and come back later or never. A death is told only of a host that ran.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use turmoil::Sim;

use crate::{
    faults::{LATENCY_MAX, LATENCY_MIN},
    lives::DeathNumber,
    shared::Shared,
};

/// Who is to die at the end of this step of the clock, and as what that counts. Clones are one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Victims(Arc<Mutex<Vec<(&'static str, &'static str)>>>);

impl Victims {
    /// Asks for the death of a host, which counts as this when it dies.
    pub(crate) fn kill(&self, host: &'static str, counts_as: &'static str) {
        self.0.lock().unwrap().push((host, counts_as));
    }
}

/// Who is dead, and until when.
pub(crate) struct Graves {
    victims: Victims,
    shared: Shared,
    rng: Rng,
    dead: BTreeMap<&'static str, Option<Duration>>,
}

impl Graves {
    /// Begins with everybody alive.
    pub(crate) fn new(victims: Victims, shared: Shared, seed: u64) -> Self {
        Self {
            victims,
            shared,
            rng: Rng::with_seed(seed ^ 0x6772_6176_6500),
            dead: BTreeMap::new(),
        }
    }

    /// Kills a host now, if it is alive, until this time or for good. Absent when it was dead already.
    pub(crate) fn bury(
        &mut self,
        sim: &mut Sim<'_>,
        host: &'static str,
        until: Option<Duration>,
    ) -> Option<DeathNumber> {
        if let Some(known) = self.dead.get_mut(host) {
            // The longer death counts.
            *known = known.zip(until).map(|(known, until)| known.max(until));
            return None;
        }
        let ran = sim.is_host_running(host);
        crash(sim, host);
        self.dead.insert(host, until);
        let died = ran && !sim.is_host_running(host);
        died.then(|| self.shared.lives.died(host, self.shared.now()))
    }

    /// Kills who is to die, and brings back whose time has come.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let victims = std::mem::take(&mut *self.victims.0.lock().unwrap());
        for (host, counts_as) in victims {
            let until = now + Duration::from_millis(self.rng.u64(5..4_000));
            if self.bury(sim, host, Some(until)).is_some() {
                self.shared.tally.count(counts_as);
            }
        }
        let back: Vec<_> = self
            .dead
            .iter()
            .filter(|(_, until)| until.is_some_and(|until| until <= now))
            .map(|(host, _)| *host)
            .collect();
        for host in back {
            self.dead.remove(host);
            sim.bounce(host);
        }
    }

    /// Says whether everybody who comes back has come.
    pub(crate) fn is_quiet(&self) -> bool {
        self.dead.values().all(Option::is_none)
    }
}

/// Kills a host; the ends of its connections leave at once.
///
/// A runtime that is dropped drops its tasks, and so their connections, in an order that hangs on how many tasks the
/// process ever had, and the last message of each draws its latency. With one latency for all, the order is nothing.
fn crash(sim: &mut Sim<'_>, host: &str) {
    sim.set_max_message_latency(LATENCY_MIN);
    sim.crash(host);
    sim.set_max_message_latency(LATENCY_MAX);
}
