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
        _ if code(error).is_some_and(|code| is_of_the_disk(&code)) => corrupt("page", error),
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

/// Says whether the database cannot read a part of what it keeps. All that lies elsewhere goes on, so whoever meets the
/// part is told, and nobody waits for it.
fn is_of_the_disk(code: &str) -> bool {
    if code.len() == 5 {
        // SQLSTATE: data_corrupted, index_corrupted.
        return matches!(code, "XX001" | "XX002");
    }
    // SQLite: SQLITE_CORRUPT, whatever says it more exactly, and SQLITE_IOERR of a page with the wrong sum, or that the file
    // system calls corrupt. A read that fails may be a disk that is away.
    const CORRUPT_IOERR: [u32; 2] = [10 | 32 << 8, 10 | 33 << 8];
    code.parse::<u32>()
        .is_ok_and(|number| number & 0xff == 11 || CORRUPT_IOERR.contains(&number))
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

/// Says whether a commit that failed on PostgreSQL was undone for certain.
pub(in crate::store) fn was_undone(error: &DbErr) -> bool {
    code(error).is_some_and(|code| tells_of_an_undoing(&code))
}

/// What is said of a commit that failed and may have been made.
pub(in crate::store) fn in_doubt(error: &DbErr) -> Error {
    match describe(error) {
        Error::Unavailable { message, reason, .. } => Error::Unavailable {
            message,
            reason,
            maybe_done: true,
        },
        Error::Corrupt { .. } | Error::Exists { .. } | Error::NotFound { .. } => Error::maybe_done(error),
    }
}

/// SQLSTATE: what the server finds wrong with a transaction before it commits it (data exceptions, violated constraints, a
/// rollback that it chose, a lock that was not let go). Whatever else is said at that moment (a server that shuts down, a
/// pooler that lost its server, a disk, a time that was over) is also said when the commit is made and only its answer is
/// not: of 40003 that is the very meaning.
fn tells_of_an_undoing(code: &str) -> bool {
    let is_of = |class: &&str| code.starts_with(*class);
    code == LOCK_NOT_AVAILABLE || code != "40003" && ["22", "23", "40"].iter().any(is_of)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::{Options, SqlStore, damage};

    #[test]
    fn only_what_cannot_be_read_is_damaged() {
        for code in ["11", "267", "8202", "8458", "XX001", "XX002"] {
            assert!(is_of_the_disk(code), "{code}");
        }
        // Busy, locked, full, any failed read, write or sync, a server that shuts down.
        for code in [
            "5", "6", "13", "266", "522", "778", "1034", "57P01", "58030", "53100", "XX000",
        ] {
            assert!(!is_of_the_disk(code), "{code}");
        }
    }

    #[test]
    fn a_failed_commit_was_undone_only_when_the_server_says_what_is_wrong_with_it() {
        for code in ["22003", "23505", "23514", "40001", "40P01", "40002", "55P03"] {
            assert!(tells_of_an_undoing(code), "{code}");
        }
        // The connection, an end by an operator or by a limit, a lack of something, a fault.
        for code in [
            "08006", "08P01", "40003", "57P01", "57P03", "57014", "25P03", "53100", "58030", "XX000",
        ] {
            assert!(!tells_of_an_undoing(code), "{code}");
        }
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_read_is_no_database_that_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().display());
        let open = || SqlStore::open(&url, Options::default());
        drop(open().await.unwrap());
        damage::zero_page_of(folder.path(), "audit").await;
        let store = open().await.unwrap();
        let error = store.audit_list(None, 10).await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(store.agent_list().await.unwrap().is_empty(), "the rest is read");
    }
}
