//! The store in SQLite or PostgreSQL, through sea-orm. Entities, SQL and migrations never leave this module.

use std::{path::PathBuf, sync::Arc};

use super::Store;

/// Why the store could not be opened. Each message says what, why and what to do.
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
        "DATA_FOLDER_LOCKED: the data folder {folder} is in use\nanother opslink-cloud process holds its lock\nstop that process, or choose another folder with --data"
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The data folder cannot be made or written.
    #[error(
        "DATA_FOLDER_UNUSABLE: the data folder {folder} cannot be used\n{why}\nmake the folder writable for this user, or choose another one with --data"
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
            Self::Folder { .. } => "DATA_FOLDER_UNUSABLE",
            Self::Database { reason, .. } => reason,
        }
    }
}

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections that read (SQLite) or all connections (PostgreSQL).
    pub connections: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 8 }
    }
}

/// The store in a database.
#[derive(Debug)]
pub struct SqlStore;

impl SqlStore {
    /// Opens the store at this URL, makes what is missing and applies migrations.
    ///
    /// `sqlite:///absolute/folder` is a data folder with `main.db` and `chunks.db`; `postgres://…` is a database.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is left locked.
    pub async fn open(url: &str, _options: Options) -> Result<Arc<dyn Store>, OpenError> {
        Err(OpenError::Url {
            url: url.to_owned(),
            why: "no engine is built in yet".to_owned(),
        })
    }
}
