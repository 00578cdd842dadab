//! What every table in SQLite or PostgreSQL stands on, through sea-orm. SQL, rows and migrations never leave the store.
//!
//! ```text
//! SqlStore ─► Engine ─► SQLite: readers │ group_commit (one writer task per file)
//!               └─────► PostgreSQL: pools of one tenure, ordinary transactions, run again after a lost race
//! <resource>/sql.rs: the statements, the same for both ─► statement, convert
//! ```

use super::{Result, Store};

mod convert;
#[cfg(test)]
pub(crate) mod damage;
mod engine;
mod failure;
mod group_commit;
mod lock;
mod migration;
mod open;
#[cfg(test)]
mod pools;
mod postgres;
mod sqlite;
mod statement;
mod tenure;

pub(super) use convert::{
    Named, count, from_json, json, outcome, outcome_bytes, readable, readable_page, records, role, role_word, state,
    stored,
};
pub(super) use engine::Engine;
pub(super) use failure::{Failure, Outcome, corrupt, describe, exists, not_found};
pub use lock::DatabaseLock;
pub use open::{OpenError, without_password};
pub(super) use statement::{Batch, Sql, parts};
pub use tenure::Tenure;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections that read: per file on SQLite; on PostgreSQL as many more write. Half as many more read for
    /// callers.
    pub connections: u32,
    /// What its sessions at a PostgreSQL server belong to: none outlives it. Absent where nobody else can come: a data
    /// folder has a lock that its files cannot outlive.
    pub tenure: Option<Tenure>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 8,
            tenure: None,
        }
    }
}

/// The store in a database.
#[derive(Debug)]
pub struct SqlStore {
    pub(super) main: Engine,
    pub(super) chunks: Engine,
}

impl SqlStore {
    /// Opens the store at this URL, makes what is missing and applies migrations.
    ///
    /// `sqlite:///absolute/folder` is a data folder with `main.db` and `chunks.db`, for one process at a time: its
    /// lock is held until the store is dropped and its queues are empty. `postgres://…` is a database.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is left locked.
    pub async fn open(url: &str, options: Options) -> std::result::Result<Store, OpenError> {
        let (main, chunks) = open::open(url, options.connections, options.tenure).await?;
        Ok(Store::from(Self { main, chunks }))
    }

    /// The same store, whose reads keep nobody waiting but each other.
    pub(super) fn for_callers(&self) -> Self {
        Self {
            main: self.main.for_callers(),
            chunks: self.chunks.for_callers(),
        }
    }

    pub(super) async fn ping(&self) -> Result<()> {
        Ok(self.main.read().ping().await.map_err(Failure::from)?)
    }
}

/// Makes the schema that 0.1.0 had, for tests of what came after.
#[cfg(test)]
pub(super) async fn schema_of_0_1_0(
    main: &sea_orm::DatabaseConnection,
    chunks: &sea_orm::DatabaseConnection,
) -> std::result::Result<(), sea_orm::DbErr> {
    use sea_orm_migration::MigratorTrait;
    migration::MainMigrator::up(main, Some(2)).await?;
    migration::ChunkMigrator::up(chunks, Some(1)).await
}
