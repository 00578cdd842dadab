//! Persistence: one [`Store`], three engines with the same conformance suite.
//!
//! ```text
//! Store ── read ──► Engine ─► sql: SQLite, PostgreSQL      <resource>/record.rs       what callers see
//!   └── write(|tx| …) ─► Tx ─► memory: maps                <resource>/repo.rs         its methods, declared once
//!                                                          <resource>/sql.rs          its rows and statements
//!                                                          <resource>/memory.rs       the same in maps
//!                                                          <resource>/conformance.rs  what it promises, on every engine
//! ```
//! One folder per resource (settings are bytes: theirs has no `record.rs`); [`sql`] and [`memory`] hold what all of them
//! stand on: opening, transactions, group commit, migrations. Callers see domain records only.
//!
//! A method of [`Store`] that changes something is one transaction; several compose in one with [`Store::write`] and the
//! methods of [`Tx`], which have the same names. When a write returns `Ok`, the change is durable.

pub mod memory;
pub mod record;
pub mod sql;

mod agent;
mod audit;
mod error;
mod execution;
mod join_token;
mod login_limit;
mod output;
mod presence;
mod quarantine;
mod session;
mod setting;
mod task;
mod token;
mod tx;
mod user;
mod work;

#[cfg(test)]
pub(crate) mod conformance;

pub use error::{Error, Result};
pub use tx::{Operation, Store, Tx};
