//! From what a database says to what the store says.

use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::store::Error;

/// Why an operation of the store did not happen: the transaction around it is rolled back.
#[derive(Debug)]
pub(in crate::store) enum Failure {
    /// The database's word.
    Db(DbErr),
    /// The store's own word.
    Store(Error),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        Self::Db(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Db(error) => describe(&error),
            Failure::Store(error) => error,
        }
    }
}

/// Result of an operation inside a transaction.
pub(in crate::store) type Outcome<T> = Result<T, Failure>;

/// Makes the error for a missing record.
pub(in crate::store) fn not_found(what: &'static str, name: impl ToString) -> Failure {
    Failure::Store(Error::not_found(what, name))
}

/// Makes the error for a taken name.
pub(in crate::store) fn exists(what: &'static str, name: impl ToString) -> Failure {
    Failure::Store(Error::exists(what, name))
}

/// Makes the error for an unreadable record.
pub(in crate::store) fn corrupt(what: &'static str, message: impl ToString) -> Error {
    Error::Corrupt {
        what,
        message: message.to_string(),
    }
}

/// Turns a database error into the store's.
pub(in crate::store) fn describe(error: &DbErr) -> Error {
    match error {
        DbErr::Type(message) | DbErr::Json(message) => corrupt("row", message),
        DbErr::TryIntoErr { .. } => corrupt("row", error),
        _ if is_unreadable(error) => corrupt("row", error),
        // PostgreSQL keeps no NUL in a text: trying again does not help.
        _ if code(error).as_deref() == Some("22021") => corrupt("text", "it holds a NUL character"),
        _ if is_of_the_values(error) => corrupt("value", error),
        // The list is open (`non_exhaustive`); everything else means that the database did not do it.
        _ => Error::Unavailable {
            message: error.to_string(),
            reason: if is_disk_full(error) {
                "DISK_FULL"
            } else {
                "DATABASE_UNAVAILABLE"
            },
            maybe_done: false,
        },
    }
}

/// Says whether the database answered with something that is no such row: asking again does not help.
fn is_unreadable(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    matches!(
        error.as_ref(),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_)
    )
}

/// Says whether the database refuses the values themselves: it will each time. What is missing in the schema, or not
/// allowed, is no such thing: its operator may be at work there.
fn is_of_the_values(error: &DbErr) -> bool {
    let Some(code) = code(error) else { return false };
    if code.len() == 5 {
        // SQLSTATE: data exceptions, violated constraints. A unique key may be another transaction's, see `may_retry`.
        return (code.starts_with("22") || code.starts_with("23")) && code != "23505";
    }
    // SQLite: SQLITE_CONSTRAINT and SQLITE_MISMATCH, the lowest byte of what says it more exactly.
    code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 19 | 20))
}

/// Somebody held a lock for longer than a statement may wait.
pub(in crate::store) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Says whether the same transaction, run again, may end well: a serialization failure, a deadlock, a lock that was not let
/// go in time, or a unique key that another transaction took at the same time (the second run sees it and answers properly).
pub(in crate::store) fn may_retry(error: &DbErr) -> bool {
    matches!(
        code(error).as_deref(),
        Some("40001" | "40P01" | LOCK_NOT_AVAILABLE | "23505")
    )
}

fn is_disk_full(error: &DbErr) -> bool {
    // SQLite: SQLITE_FULL is 13. PostgreSQL: disk_full is 53100.
    matches!(code(error).as_deref(), Some("13" | "53100")) || error.to_string().contains("No space left on device")
}

/// Returns the engine's own code: an SQLSTATE, or SQLite's number.
pub(in crate::store) fn code(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => match error.as_ref() {
            sqlx::Error::Database(database) => database.code().map(std::borrow::Cow::into_owned),
            _ => None,
        },
        _ => None,
    }
}
