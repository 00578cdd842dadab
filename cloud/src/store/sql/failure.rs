//! From what a database says to what the store says.

use sea_orm::{DbErr, RuntimeErr, sqlx};

use super::super::Error;

/// Why an operation of the store did not happen: the transaction around it is rolled back.
#[derive(Debug)]
pub(super) enum Failure {
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
pub(super) type Outcome<T> = Result<T, Failure>;

/// Makes the error for a missing record.
pub(super) fn not_found(what: &'static str, name: impl ToString) -> Failure {
    Failure::Store(Error::NotFound {
        what,
        name: name.to_string(),
    })
}

/// Makes the error for a taken name.
pub(super) fn exists(what: &'static str, name: impl ToString) -> Failure {
    Failure::Store(Error::Exists {
        what,
        name: name.to_string(),
    })
}

/// Makes the error for an unreadable record.
pub(super) fn corrupt(what: &'static str, message: impl ToString) -> Error {
    Error::Corrupt {
        what,
        message: message.to_string(),
    }
}

/// Turns a database error into the store's.
pub(super) fn describe(error: &DbErr) -> Error {
    match error {
        DbErr::Type(message) | DbErr::Json(message) => corrupt("row", message),
        DbErr::TryIntoErr { .. } => corrupt("row", error),
        // The list is open (`non_exhaustive`); everything else means that the database did not do it.
        _ => Error::Unavailable {
            message: error.to_string(),
            reason: if is_disk_full(error) {
                "DISK_FULL"
            } else {
                "DATABASE_UNAVAILABLE"
            },
        },
    }
}

/// Says whether the same transaction, run again, may end well: a serialization failure, a deadlock, or a unique key
/// that another transaction took at the same time (the second run sees it and answers properly).
pub(super) fn may_retry(error: &DbErr) -> bool {
    matches!(code(error).as_deref(), Some("40001" | "40P01" | "23505"))
}

fn is_disk_full(error: &DbErr) -> bool {
    // SQLite: SQLITE_FULL is 13. PostgreSQL: disk_full is 53100.
    matches!(code(error).as_deref(), Some("13" | "53100")) || error.to_string().contains("No space left on device")
}

/// Returns the engine's own code: an SQLSTATE, or SQLite's number.
pub(super) fn code(error: &DbErr) -> Option<String> {
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
