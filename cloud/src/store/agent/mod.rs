//! Enrolled machines.

pub(super) mod record;

mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
