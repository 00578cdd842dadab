//! Signals that get lost on their way within the cloud: nothing may hang on one.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use opslink_cloud::signals::{Between, Signal, Signals};

use crate::shared::Shared;

/// See the module.
struct Deaf {
    receivers: Arc<dyn Signals>,
    shared: Shared,
    rng: Mutex<Rng>,
}

/// Loses as many of a cloud's signals as was drawn, until all trouble is over.
pub(crate) fn between(shared: Shared) -> Between {
    Between::new(move |receivers| {
        Arc::new(Deaf {
            receivers,
            rng: Mutex::new(Rng::with_seed(shared.plan.deafness.seed)),
            shared: shared.clone(),
        })
    })
}

impl Signals for Deaf {
    fn send(&self, signal: Signal<'_>) {
        let of_thousand = self.shared.plan.deafness.of_thousand;
        if !self.shared.is_over() && self.rng.lock().unwrap().u32(0..1_000) < of_thousand {
            return self.shared.tally.count("signal was lost");
        }
        self.receivers.send(signal);
    }
}
