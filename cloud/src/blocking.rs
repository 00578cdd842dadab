//! Work that would hold up a thread of the runtime: decoding and hashing much at once.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work on a thread of its own; absent when that thread was ended.
///
/// A runtime with one thread only does it right here: simulations have such, and must come to the same result every
/// time, which a second thread would not.
///
/// # Cancel
/// Dropping the future lets the work go on to its end, unheard.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Some(work()),
        _ => tokio::task::spawn_blocking(work).await.ok(),
    }
}
