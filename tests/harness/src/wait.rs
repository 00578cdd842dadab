//! Waiting for a named condition instead of sleeping for luck.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Polls a condition until it holds; an error with its name when it does not within `limit`.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for_some(what, limit, || condition().then_some(()))
}

/// Polls until there is a value.
pub fn wait_for_some<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {} s in vain for: {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
