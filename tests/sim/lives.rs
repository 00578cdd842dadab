//! Who died and who came back, as it was seen: a death is the end of a host that ran, a return is its program at work again.

use std::{sync::Mutex, time::Duration};

use opslink::time::UnixMicros;

/// All deaths of a run, in their order.
#[derive(Debug, Default)]
pub(crate) struct Lives(Mutex<Vec<Death>>);

#[derive(Debug)]
struct Death {
    host: &'static str,
    at: UnixMicros,
    came_back: bool,
}

/// One of the deaths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeathNumber(usize);

impl Lives {
    /// Notes that a host that ran was ended.
    pub(crate) fn died(&self, host: &'static str, at: UnixMicros) -> DeathNumber {
        let mut deaths = self.0.lock().unwrap();
        deaths.push(Death {
            host,
            at,
            came_back: false,
        });
        DeathNumber(deaths.len() - 1)
    }

    /// Notes that the program of a host is at work. Says for how long it was not; absent when it never died.
    pub(crate) fn is_at_work(&self, host: &str, now: UnixMicros) -> Option<Duration> {
        let mut deaths = self.0.lock().unwrap();
        let of_host = deaths.iter_mut().filter(|death| death.host == host && !death.came_back);
        // It may have died again before it was at work.
        let died_at = of_host.map(|death| {
            death.came_back = true;
            death.at
        });
        died_at.min().map(|at| now.since(at))
    }

    /// Says whether whoever died there came back.
    pub(crate) fn came_back(&self, death: DeathNumber) -> bool {
        self.0.lock().unwrap()[death.0].came_back
    }
}
