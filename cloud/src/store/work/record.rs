//! Work that must happen.

use opslink::time::UnixMicros;

/// Work to be done by whoever reconciles its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewWork {
    /// Who does it: `rollout`, `verify`, …
    pub kind: String,
    /// What it is about: an id. There is one row per kind and key.
    pub key: String,
    /// Not before.
    pub due_at: UnixMicros,
}

/// Work that was claimed: nobody else gets it before the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// See [`NewWork::kind`].
    pub kind: String,
    /// See [`NewWork::key`].
    pub key: String,
    /// When it was due.
    pub due_at: UnixMicros,
    /// How often it was claimed since it was added, this time included.
    pub tries: u32,
    /// End of the lease; also tells this claim from others of the same work.
    pub lease_until: UnixMicros,
    /// How often it was added when it was claimed: once more meanwhile, and it is not done with.
    pub(in crate::store) adds: u64,
}
