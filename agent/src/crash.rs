//! Crash points: places where a test may stop the program dead. Compiled out of release builds.

/// Aborts the process when `OPSLINK_CRASH_AT` names this place. Costs nothing in release builds.
#[macro_export]
macro_rules! crashpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::crash::at($name);
    };
}

/// The other half of [`crashpoint!`](crate::crashpoint).
#[cfg(debug_assertions)]
pub fn at(name: &str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    if WANTED.get_or_init(|| std::env::var("OPSLINK_CRASH_AT").ok()).as_deref() == Some(name) {
        std::process::abort();
    }
}
