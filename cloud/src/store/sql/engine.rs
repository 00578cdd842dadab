//! The two engines behind one pair of calls: read here, write there.

use sea_orm::DatabaseConnection;

use super::{
    super::Result,
    group_commit::{Operation, Writer},
    postgres,
};

/// A database that answers reads and runs writes.
#[derive(Debug, Clone)]
pub(super) enum Engine {
    /// A file: many readers, one writer.
    Sqlite {
        /// Pool of connections that only read.
        reader: DatabaseConnection,
        /// The writer task.
        writer: Writer,
    },
    /// A server.
    Postgres {
        /// Pool of connections that do both.
        pool: DatabaseConnection,
    },
}

impl Engine {
    /// Returns what reads go to. Whoever has the answer to a write sees it here.
    pub(super) const fn read(&self) -> &DatabaseConnection {
        match self {
            Self::Sqlite { reader, .. } => reader,
            Self::Postgres { pool } => pool,
        }
    }

    /// Runs an operation in one transaction; returns after its commit, or with nothing changed.
    pub(super) async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        match self {
            Self::Sqlite { writer, .. } => writer.write(input, operation).await,
            Self::Postgres { pool } => postgres::write(pool, input, operation).await,
        }
    }
}
