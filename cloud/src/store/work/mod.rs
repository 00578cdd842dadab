//! Work that must happen: a row, written in the transaction that makes it necessary.

pub(super) mod record;

pub(super) mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
