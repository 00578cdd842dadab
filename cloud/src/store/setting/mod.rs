//! Settings of the installation: CA, keys, its id.

mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
