//! One task on one agent, and its attempts.

pub(super) mod record;

pub(super) mod apply;
mod attempt;
mod late;
mod memory;
mod repo;
pub(super) mod sql;

#[cfg(test)]
pub(super) mod conformance;

#[cfg(test)]
mod plans;
