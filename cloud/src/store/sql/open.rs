//! Opening the store, and everything that can be wrong then.

use std::path::{Path, PathBuf};

use sea_orm::{DbErr, RuntimeErr, sqlx};

use super::{
    engine::Engine,
    failure::{code, describe},
    postgres, sqlite,
    tenure::Tenure,
};
use crate::store::Error;

/// Why the store could not be opened. Each message says what, why and what to do, after its stable reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no engine that OpsLink knows.
    #[error(
        "DATABASE_URL_INVALID: `{url}` is not a database URL of OpsLink\n{why}\nuse sqlite:///absolute/folder or postgres://user:password@host:5432/database"
    )]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Another process works on this data folder.
    #[error(
        "DATA_FOLDER_LOCKED: the data folder {} is in use\nanother opslink-cloud process holds its lock\nstop that process, or choose another folder with --data",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process works on this database.
    #[error(
        "DATABASE_IN_USE: the database {url} is in use\nanother opslink-cloud process holds its lock\nstop that process, or choose another database"
    )]
    InUse {
        /// The URL, without its password.
        url: String,
    },
    /// The data folder cannot be made or written.
    #[error(
        "DATA_FOLDER_UNUSABLE: the data folder {} cannot be used\n{why}\nmake the folder writable for this user, or choose another one with --data",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The database refused, is away, or is full.
    #[error("{reason}: the database cannot be opened\n{why}\n{fix}")]
    Database {
        /// UPPER_SNAKE reason.
        reason: &'static str,
        /// What the database said.
        why: String,
        /// What to do.
        fix: &'static str,
    },
}

impl OpenError {
    /// Returns the UPPER_SNAKE reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Url { .. } => "DATABASE_URL_INVALID",
            Self::Locked { .. } => "DATA_FOLDER_LOCKED",
            Self::InUse { .. } => "DATABASE_IN_USE",
            Self::Folder { .. } => "DATA_FOLDER_UNUSABLE",
            Self::Database { reason, .. } => reason,
        }
    }

    pub(super) fn database(error: &DbErr) -> Self {
        let (reason, fix) = match code(error).as_deref() {
            Some("28P01" | "28000") => ("DATABASE_LOGIN_REFUSED", "check user and password in the database URL"),
            Some("3D000") => (
                "DATABASE_MISSING",
                "create the database, or correct its name in the database URL",
            ),
            Some("42501") => (
                "DATABASE_PERMISSION_DENIED",
                "give this user the right to create tables in the database",
            ),
            Some("26") => (
                "DATABASE_CORRUPT",
                "the file is no SQLite database: restore it from a backup",
            ),
            _ => match describe(error) {
                Error::Unavailable {
                    reason: "DISK_FULL", ..
                } => ("DISK_FULL", "free some space and start again"),
                Error::Unavailable { reason, .. } => {
                    (reason, "check that the database runs and can be reached from here")
                }
                Error::Corrupt { .. } | Error::Exists { .. } | Error::NotFound { .. } => {
                    ("DATABASE_CORRUPT", "restore the database from a backup")
                }
            },
        };
        Self::Database {
            reason,
            why: words(error).replace('\n', " "),
            fix,
        }
    }
}

/// How many of so many readers there are for callers beside them: half, so that their lists leave some of the machine to
/// the others.
pub(super) const fn for_callers(connections: u32) -> u32 {
    if connections > 1 { connections / 2 } else { 1 }
}

/// Opens the engines for everything but chunks, and for chunks.
pub(super) async fn open(url: &str, connections: u32, tenure: Option<Tenure>) -> Result<(Engine, Engine), OpenError> {
    let invalid = |why: &str| OpenError::Url {
        url: without_password(url),
        why: why.to_owned(),
    };
    match url.split_once("://") {
        Some(("sqlite", folder)) => {
            let folder = Path::new(folder);
            if !folder.is_absolute() {
                return Err(invalid("the folder is not absolute: three slashes, then the path"));
            }
            sqlite::open(folder, connections).await
        }
        Some(("postgres" | "postgresql", rest)) => {
            // One spelling: sea-orm knows only this one.
            let url = format!("postgres://{rest}");
            if let Err(error) = url.parse::<sea_orm::sqlx::postgres::PgConnectOptions>() {
                return Err(invalid(&error.to_string()));
            }
            postgres::open(&url, connections, tenure).await
        }
        Some((scheme, _)) => Err(invalid(&format!("`{scheme}` is neither sqlite nor postgres"))),
        None => Err(invalid("it has no `://`")),
    }
}

/// The server's or the system's own words, without those of the layers in between.
fn words(error: &DbErr) -> String {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => match error.as_ref() {
            sqlx::Error::Database(database) => database.message().to_owned(),
            sqlx::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// Returns the URL as it may be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}:…@{place}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_gets_into_a_message() {
        assert_eq!(
            without_password("postgres://me:p@ss:w@host/db"),
            "postgres://me:…@host/db"
        );
        assert_eq!(without_password("postgres://host/db"), "postgres://host/db");
        assert_eq!(without_password("nonsense"), "nonsense");
    }

    #[tokio::test]
    async fn a_wrong_url_is_answered_with_what_a_right_one_looks_like() {
        for url in [
            "",
            "main.db",
            "mysql://host/db",
            "sqlite://relative/folder",
            "postgres://host:notaport/db",
        ] {
            let error = open(url, 2, None).await.expect_err(url);
            assert_eq!(error.reason(), "DATABASE_URL_INVALID", "{url}");
            assert_eq!(error.to_string().lines().count(), 3, "{error}");
        }
    }
}
