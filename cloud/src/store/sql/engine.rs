//! The two engines behind one pair of calls: read here, write there.

use sea_orm::DatabaseConnection;

use super::{group_commit, postgres};
use crate::store::{Operation, Result};

/// A database that answers reads and runs writes.
///
/// Lists and watches have readers of their own: however many callers read, and however much, whoever reads to hand work
/// over or to take its output in finds a reader. A pool, not a limit above one pool: what stands in line for it stands in
/// no other line, also when a statement takes seconds.
#[derive(Debug, Clone)]
pub(in crate::store) enum Engine {
    /// A file: many readers, one writer.
    Sqlite {
        /// Pool of connections that only read.
        reader: DatabaseConnection,
        /// The same for what callers ask.
        callers: DatabaseConnection,
        /// The writer task.
        writer: group_commit::Writer,
    },
    /// A server.
    Postgres {
        /// Pool of connections that read.
        reader: DatabaseConnection,
        /// The same for what callers ask.
        callers: DatabaseConnection,
        /// Pool of connections that write: however many read and watch, whoever writes finds one.
        writer: postgres::Writer,
    },
}

impl Engine {
    /// Returns what reads go to. Whoever has the answer to a write sees it here.
    pub(in crate::store) const fn read(&self) -> &DatabaseConnection {
        match self {
            Self::Sqlite { reader, .. } | Self::Postgres { reader, .. } => reader,
        }
    }

    /// The same database, whose reads stand in the line of callers.
    pub(super) fn for_callers(&self) -> Self {
        match self {
            Self::Sqlite { callers, writer, .. } => Self::Sqlite {
                reader: callers.clone(),
                callers: callers.clone(),
                writer: writer.clone(),
            },
            Self::Postgres { callers, writer, .. } => Self::Postgres {
                reader: callers.clone(),
                callers: callers.clone(),
                writer: writer.clone(),
            },
        }
    }

    /// Runs an operation in one transaction; returns after its commit, or with nothing changed.
    pub(in crate::store) async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        match self {
            Self::Sqlite { writer, .. } => writer.write(input, operation).await,
            Self::Postgres { writer, .. } => writer.write(input, operation).await,
        }
    }
}
