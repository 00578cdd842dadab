//! How often somebody tried, within a window of time.

use opslink::time::UnixMicros;

/// Tries of one key in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginLimit {
    /// Who: a name, an address, or both, as the caller writes it.
    pub key: String,
    /// When the window began.
    pub window: UnixMicros,
    /// Tries in it.
    pub count: u32,
    /// When the row means nothing any more.
    pub lease_until: UnixMicros,
}
