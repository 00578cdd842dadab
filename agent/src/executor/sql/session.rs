//! One connection to a database, whatever its kind.

use std::time::Duration;

use async_trait::async_trait;

use super::{error::Error, table::Tables};
use crate::executor::Failure;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Rows that wait for company leave after this long: the time in which a chunk is sealed.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// Why a connection could not be opened.
pub(super) enum OpenError {
    /// Its entry in the connections file, or a file that it names.
    Entry(Failure),
    /// The database said no, or is not there.
    Database(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// What is sent as one statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// Its text.
    pub(super) sql: &'a str,
    /// The data that the script holds for `COPY … FROM stdin`.
    pub(super) copy_data: Option<&'a [u8]>,
}

impl<'a> Sent<'a> {
    /// A statement without data.
    pub(super) const fn sql(sql: &'a str) -> Self {
        Self { sql, copy_data: None }
    }
}

/// What a statement did, beside its rows.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Rows that it changed; absent when it returns rows or no count.
    pub(super) affected: Option<u64>,
}

/// Whether a session is in a transaction, as the database itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    /// It is not: each statement commits by itself.
    None,
    /// It is.
    Open,
    /// It is, and nothing but its end is accepted.
    Failed,
}

/// How far the server's reading of quotes departs from what the splitter takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Quoting {
    /// PostgreSQL with `standard_conforming_strings = off`: a backslash escapes in every string.
    pub(super) backslash_everywhere: bool,
    /// MySQL with `NO_BACKSLASH_ESCAPES`: a backslash is a character like others.
    pub(super) no_backslash: bool,
}

/// One open connection.
#[async_trait]
pub(super) trait Session: Send {
    /// Runs one statement; its rows and whatever the database says meanwhile go to `tables` as they come.
    async fn execute(&mut self, sent: Sent<'_>, tables: &mut Tables) -> Result<Done, Error>;

    /// Returns what ends the running statement from outside.
    fn killer(&self) -> Box<dyn Killer>;

    /// Says whether a transaction is open.
    fn transaction(&self) -> Transaction;

    /// Says how the server reads quotes now.
    fn quoting(&self) -> Quoting {
        Quoting::default()
    }

    /// Begins a transaction that can write nothing, and that nothing inside of it can make writable.
    async fn begin_read_only(&mut self) -> Result<(), Error>;

    /// Makes the open transaction of the script one that can write nothing; `has_begun` says that the statement before
    /// was its BEGIN.
    async fn make_read_only(&mut self, has_begun: bool) -> Result<(), Error>;

    /// Says whether the session cannot write at all, so that nothing need be done per statement.
    fn is_read_only_by_itself(&self) -> bool {
        false
    }

    /// Says how much a ROLLBACK could not take back, if the database told.
    fn kept_despite_rollback(&self) -> Option<String> {
        None
    }

    /// Closes the connection; errors do not matter any more.
    async fn close(self: Box<Self>);
}

/// Ends the running statement of a session, from outside. Both ways have limits of their own.
#[async_trait]
pub(super) trait Killer: Send + Sync {
    /// Asks the database to end the statement.
    async fn ask(&self) -> Result<(), Error>;

    /// Has the database end the whole session. Only when it is known to be this one.
    async fn end_session(&self) -> Result<(), Error>;
}

/// Bounds a wait for the network.
pub(super) async fn timed<T>(limit: Duration, waiting: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", limit.as_secs_f32());
        Err(Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}
