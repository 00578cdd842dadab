//! The table of chunks.

use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

/// Partitions on PostgreSQL: enough to vacuum and archive piecewise, few enough to plan quickly.
const PARTITIONS: u32 = 8;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_chunks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let partitioned = if postgres {
            " PARTITION BY HASH (attempt_id)"
        } else {
            ""
        };
        super::run(manager, &[&format!("{CHUNK}{partitioned}")]).await?;
        if postgres {
            for part in 0..PARTITIONS {
                let sql = format!(
                    "CREATE TABLE chunk_{part} PARTITION OF chunk FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
                );
                // Payloads are compressed already.
                let plain = format!("ALTER TABLE chunk_{part} ALTER COLUMN payload SET STORAGE EXTERNAL");
                super::run(manager, &[&sql, &plain]).await?;
            }
        }
        super::run(
            manager,
            &["CREATE INDEX chunk_line ON chunk (attempt_id, first_line, first_seq)"],
        )
        .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

// The payload is last: SQLite reads the columns before it without touching its overflow pages.
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
)";
