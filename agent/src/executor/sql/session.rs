//! One connection to a database, whatever its kind.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sqlx::{Either, Error};

use super::{error::Offset, table::Tables};
use crate::executor::Failure;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Rows that wait for company leave after this long: the time in which a chunk is sealed.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// Why a connection could not be opened.
pub(super) enum OpenError {
    /// Its password file cannot be read.
    Secret(Failure),
    /// The database said no, or is not there.
    Database(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// What a statement did, beside its rows.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Rows that it changed; absent when it returns rows or no count.
    pub(super) affected: Option<u64>,
}

/// One open connection.
#[async_trait]
pub(super) trait Session: Send {
    /// Runs one statement; its rows go to `tables` as they come.
    async fn execute(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error>;

    /// Runs `COPY … FROM stdin` with this data.
    async fn copy_in(&mut self, sql: &str, data: Bytes) -> Result<Done, Error>;

    /// Returns what ends the running statement from outside.
    fn killer(&self) -> Box<dyn Killer>;

    /// Returns where in the statement an error is, as far as the database tells.
    fn offset(&self, error: &Error, sql: &str) -> Option<Offset>;

    /// Says whether the server speaks of statements that end a transaction by themselves (DDL on MySQL).
    fn commits_ddl(&self) -> bool {
        false
    }

    /// Closes the connection; errors do not matter any more.
    async fn close(self: Box<Self>);
}

/// Ends the running statement of a session, from outside.
#[async_trait]
pub(super) trait Killer: Send + Sync {
    /// Asks the database to end the statement.
    async fn kill(&self) -> Result<(), Error>;
}

/// Reads results and rows until the statement is over. `header` says the columns of a row, `cells` writes them.
pub(super) async fn drain<R, Q>(
    mut items: impl Stream<Item = Result<Either<Q, R>, Error>> + Unpin,
    tables: &mut Tables,
    affected: impl Fn(&Q) -> u64,
    row: impl Fn(&R, &mut Tables) -> Result<(), Error>,
) -> Result<Done, Error> {
    let mut done = Done::default();
    loop {
        let mut next = items.next();
        let item = match futures::poll!(&mut next) {
            std::task::Poll::Ready(item) => item,
            // Nothing is there: what was collected shall not wait longer than a chunk would.
            std::task::Poll::Pending if tables.has_pending() => {
                match tokio::time::timeout(FLUSH_AFTER, &mut next).await {
                    Ok(item) => item,
                    Err(_) => {
                        tables.flush().await;
                        next.await
                    }
                }
            }
            std::task::Poll::Pending => next.await,
        };
        match item {
            Some(Ok(Either::Right(found))) => {
                row(&found, tables)?;
                if tables.is_full() {
                    tables.flush().await;
                }
            }
            Some(Ok(Either::Left(result))) => {
                if tables.end_set().await {
                    continue;
                }
                done.affected = Some(done.affected.unwrap_or(0) + affected(&result));
            }
            Some(Err(error)) => {
                tables.end_set().await;
                return Err(error);
            }
            None => {
                tables.end_set().await;
                return Ok(done);
            }
        }
    }
}
