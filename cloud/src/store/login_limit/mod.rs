//! How often somebody tried, within a window of time.

pub(super) mod record;

mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
