//! Progress: what is being done, how far it is, how long it took.

use std::time::Instant;

use anyhow::{Context, Result};

/// A numbered list of steps, printed as it goes.
pub(crate) struct Steps {
    total: usize,
    done: usize,
    started: Instant,
}

impl Steps {
    /// Starts a list of `total` steps.
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            done: 0,
            started: Instant::now(),
        }
    }

    /// Does one step, and says so before and after.
    pub(crate) fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.done += 1;
        println!("[{}/{}] {what} …", self.done, self.total);
        let started = Instant::now();
        let value = work().with_context(|| what.to_owned())?;
        println!("[{}/{}] {what}: done in {}", self.done, self.total, seconds(started));
        Ok(value)
    }

    /// Returns how long it has taken so far.
    pub(crate) fn elapsed(&self) -> String {
        seconds(self.started)
    }
}

fn seconds(since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}
