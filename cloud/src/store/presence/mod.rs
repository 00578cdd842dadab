//! Where each agent's link is, and when it was last heard of: narrow rows, written often.

pub(super) mod record;

mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;
