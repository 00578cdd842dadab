//! Where the memory engine can be made to wait or to fail, as the others do by themselves.

use async_trait::async_trait;

use crate::store::Result;

/// A place in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// Before a read. A failure here: nothing happened.
    Read,
    /// Before a transaction begins. A failure here: nothing happened.
    BeforeWrite,
    /// After a commit. A failure here: it happened, and the answer was lost.
    AfterCommit,
}

/// What is done at these places: wait, fail, or nothing.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Called once at each place of each call.
    async fn at(&self, point: Point) -> Result<()>;
}
