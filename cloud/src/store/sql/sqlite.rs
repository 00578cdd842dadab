//! The SQLite engine: a data folder with `main.db`, `chunks.db` and a lock file.

use std::{
    fs::{self, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbErr,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use sea_orm_migration::MigratorTrait;

use super::{
    engine::Engine,
    group_commit::Writer,
    migration::{ChunkMigrator, MainMigrator},
    open::{OpenError, for_callers},
};

/// Longest wait for a reader connection, and for a lock inside SQLite (only a backup tool ever holds one).
const PATIENCE: Duration = Duration::from_secs(5);

/// The lock of a data folder, held by whoever may write there. Closing the file releases it, also after a crash.
#[derive(Debug)]
pub(super) struct LockFile {
    _file: fs::File,
}

/// One database file.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: PathBuf,
    /// Pages of 4 KiB in the log before it is copied into the file: more for chunks, which are large.
    checkpoint_pages: u32,
}

impl File {
    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the one connection that writes.
    pub(super) async fn open_writer(&self) -> Result<DatabaseConnection, DbErr> {
        self.open(1, false).await
    }

    async fn open_readers(&self, connections: u32) -> Result<DatabaseConnection, DbErr> {
        self.open(connections, true).await
    }

    async fn open(&self, connections: u32, query_only: bool) -> Result<DatabaseConnection, DbErr> {
        let Self { path, checkpoint_pages } = self.clone();
        let mut options = ConnectOptions::new("sqlite::memory:");
        options
            .max_connections(connections)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .max_lifetime(None)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(move |_| {
                use sea_orm::sqlx::ConnectOptions as _;
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .create_if_missing(!query_only)
                    .busy_timeout(PATIENCE)
                    .foreign_keys(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .pragma("wal_autocheckpoint", checkpoint_pages.to_string())
                    .pragma("journal_size_limit", "67108864")
                    .disable_statement_logging();
                if query_only {
                    options.pragma("query_only", "1")
                } else {
                    options
                }
            });
        // The one writer is never thrown away for being idle, or the next write pays for a new one.
        options.idle_timeout(query_only.then(|| Duration::from_secs(60)));
        Database::connect(options).await
    }
}

/// Opens both files of a data folder, making them if they are not there.
pub(super) async fn open(folder: &Path, readers: u32) -> Result<(Engine, Engine), OpenError> {
    let unusable = |why: std::io::Error| OpenError::Folder {
        folder: folder.to_owned(),
        why: why.to_string(),
    };
    fs::create_dir_all(folder).map_err(unusable)?;
    let lock = Arc::new(lock(folder)?);
    let main = File {
        path: folder.join("main.db"),
        checkpoint_pages: 1_000,
    };
    let chunks = File {
        path: folder.join("chunks.db"),
        checkpoint_pages: 8_000,
    };
    let opened = async {
        let main = start::<MainMigrator>(main, readers, Arc::clone(&lock)).await?;
        let chunks = start::<ChunkMigrator>(chunks, readers, Arc::clone(&lock)).await?;
        Ok((main, chunks))
    };
    opened.await.map_err(|error: DbErr| OpenError::database(&error))
}

async fn start<M: MigratorTrait>(file: File, readers: u32, lock: Arc<LockFile>) -> Result<Engine, DbErr> {
    let migrating = file.open_writer().await?;
    let migrated = M::up(&migrating, None).await;
    migrating.close().await?;
    migrated?;
    Ok(Engine::Sqlite {
        reader: file.open_readers(readers).await?,
        callers: file.open_readers(for_callers(readers)).await?,
        writer: Writer::start(file, lock).await?,
    })
}

fn lock(folder: &Path) -> Result<LockFile, OpenError> {
    let unusable = |why: std::io::Error| OpenError::Folder {
        folder: folder.to_owned(),
        why: why.to_string(),
    };
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(LockFile { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// A file without schema and its lock, for tests of what writes to it.
#[cfg(test)]
pub(super) fn plain_file(folder: &Path) -> (File, Arc<LockFile>) {
    let lock = Arc::new(lock(folder).expect("a lock"));
    (
        File {
            path: folder.join("plain.db"),
            checkpoint_pages: 1_000,
        },
        lock,
    )
}
