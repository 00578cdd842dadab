//! What attempts have put out: chunks, as they came.

pub(super) mod record;

mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
