//! SQLite: a table for output that is one small chunk, in the file that also keeps how its attempt ended, so that both are
//! one transaction and one sync. PostgreSQL has everything in one database and needs none.

use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_small_output"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => Ok(()),
            _ => super::run(manager, &[CHUNK]).await,
        }
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

// The columns of the table in `chunks.db`, so that the same statements read both.
const CHUNK: &str = "CREATE TABLE chunk (
    attempt_id {uuid} NOT NULL,
    first_seq bigint NOT NULL,
    event_count bigint NOT NULL,
    first_line bigint NOT NULL,
    line_count bigint NOT NULL,
    raw_size bigint NOT NULL,
    first_time bigint NOT NULL,
    last_time bigint NOT NULL,
    codec bigint NOT NULL,
    outcome {bytes},
    payload {bytes} NOT NULL,
    PRIMARY KEY (attempt_id, first_seq)
) WITHOUT ROWID";
