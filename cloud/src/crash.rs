//! Crash points: places where a test may stop the cloud dead, between two steps that belong together, named
//! `<part>.<what has just happened>`. Compiled out of release builds.
//!
//! `OPSLINK_CRASH_AT=name` stops it the first time, `name:3` the third. It says so on standard error, so that a test can
//! tell that its crash was this one. What the next start must make of each place is in `tests/e2e/crash_cloud.rs`.

/// Aborts the process when `OPSLINK_CRASH_AT` names this place. Costs nothing in release builds.
macro_rules! crashpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::crash::at($name);
    };
}

pub(crate) use crashpoint;

/// The other half of `crashpoint!`.
#[cfg(debug_assertions)]
pub(crate) fn at(name: &str) {
    use std::{
        io::Write,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var("OPSLINK_CRASH_AT").ok()?;
        let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        writeln!(std::io::stderr().lock(), "crash point {name}").ok();
        std::process::abort();
    }
}
