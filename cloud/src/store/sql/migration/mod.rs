//! Migrations, append-only: a published file never changes.
//!
//! Two lists, because SQLite keeps chunks in a file of their own; PostgreSQL runs both lists on one database, each with
//! its own table of what was applied. The SQL is written once, in what both engines understand, with the few words
//! that differ filled in by [`portable`]. One table is not here: whose turn it is to migrate must be known before, see
//! `tenure`.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, sea_query::DynIden};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, sea_query::Alias};

mod m0001_chunks;
mod m0001_main;
mod m0002_small_output;
mod m0003_work;
mod m0004_indexes;

/// Everything but chunks, and the chunks that come with the end of their attempt.
pub(super) struct MainMigrator;

impl MigratorTrait for MainMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_main::Migration),
            Box::new(m0002_small_output::Migration),
            Box::new(m0003_work::Migration),
            Box::new(m0004_indexes::Migration),
        ]
    }
}

/// Chunks.
pub(super) struct ChunkMigrator;

impl MigratorTrait for ChunkMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_chunks::Migration)]
    }

    fn migration_table_name() -> DynIden {
        use sea_orm::sea_query::IntoIden;
        Alias::new("seaql_migrations_chunks").into_iden()
    }
}

/// Fills in the engine's own words for types.
fn portable(backend: DbBackend, sql: &str) -> String {
    let (uuid, bytes, ordered, serial) = match backend {
        DbBackend::Postgres => (
            "uuid",
            "bytea",
            "text COLLATE \"C\"",
            "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        ),
        _ => ("blob", "blob", "text", "integer PRIMARY KEY AUTOINCREMENT"),
    };
    let sql = sql.replace("{uuid}", uuid).replace("{bytes}", bytes);
    // Names sort by their bytes everywhere, whatever the database's locale.
    sql.replace("{ordered}", ordered).replace("{serial}", serial)
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    for sql in statements {
        connection
            .execute_unprepared(&portable(manager.get_database_backend(), sql))
            .await?;
    }
    Ok(())
}
