//! The PostgreSQL engine: pools of one tenure, ordinary transactions, a second run when one lost a race, and a limit to
//! every wait.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait,
    sqlx::postgres::PgConnectOptions,
};
use sea_orm_migration::MigratorTrait;
use tokio::time::timeout;

use super::{
    engine::Engine,
    failure::{Failure, LOCK_NOT_AVAILABLE, code, in_doubt, may_retry, was_undone},
    migration::{ChunkMigrator, MainMigrator},
    open::{OpenError, for_callers, without_password},
    tenure::{TAKEN, Tenure},
};
use crate::store::{Error, Operation, Result, Tx, tx::TxEngine};

/// Longest wait for a connection: a caller rather hears that the database is away than waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the server does not let a session of ours exceed, so that nobody waits for ever. Our statements take
/// milliseconds; whoever holds a lock for longer than this is not us, or hangs. Each ends as `DATABASE_UNAVAILABLE`: a
/// call fails, ingest tries again. What the database URL says about one of them (`?options=-c…`) wins.
const LIMITS: [(&str, &str); 3] = [
    // The largest batch of chunks takes well below a second.
    ("statement_timeout", "15s"),
    ("lock_timeout", "3s"),
    // A cloud that hangs in the middle of a transaction lets its locks go.
    ("idle_in_transaction_session_timeout", "30s"),
];
/// Longest transaction, commit included: a server that hangs, or a network that swallows everything, says nothing about
/// the limits above.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(30);
/// Runs of one transaction. Whoever loses so many races in a row has another problem.
const MOST_RUNS: u32 = 8;
/// Runs of one transaction that waited for a lock in vain: whoever holds it may be slow once, not twice.
const MOST_LOCK_WAITS: u32 = 2;
/// Advisory lock that lets replicas that start together migrate one after the other ("OpsLink" in ASCII).
const MIGRATION_LOCK: i64 = 0x4f_7073_4c69_6e6b;

/// Opens the database and brings its schema up to date. Every session is of the tenure, also those that only read and
/// those that migrate: what an earlier cloud reads is of no use to anybody, and what it migrates is worse.
pub(super) async fn open(
    url: &str,
    connections: u32,
    tenure: Option<Tenure>,
) -> std::result::Result<(Engine, Engine), OpenError> {
    let opened = async {
        let tenure = tenure.as_ref();
        // Two: migrating holds the lock on one and works on another. Without limits: a migration may take its time.
        let unlimited = Database::connect(options(url, 2, tenure)).await?;
        migrate(&unlimited).await?;
        unlimited.close().await?;
        let pool = |connections| {
            let mut options = options(url, connections, tenure);
            options.map_sqlx_postgres_opts(limited);
            Database::connect(options)
        };
        Ok(Engine::Postgres {
            reader: pool(connections).await?,
            callers: pool(for_callers(connections)).await?,
            writer: Writer {
                pool: pool(connections).await?,
                tenure: tenure.cloned(),
            },
        })
    };
    let Some(opened) = during(tenure.as_ref(), Box::pin(opened)).await else {
        let url = without_password(url);
        return Err(OpenError::InUse { url });
    };
    let engine = opened.map_err(|error: DbErr| OpenError::database(&error))?;
    Ok((engine.clone(), engine))
}

/// What `work` comes to; absent when the tenure ends before.
async fn during<T>(tenure: Option<&Tenure>, work: impl Future<Output = T>) -> Option<T> {
    match tenure {
        Some(tenure) => tenure.during(work).await,
        None => Some(work.await),
    }
}

fn options(url: &str, connections: u32, tenure: Option<&Tenure>) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .set_application_name("opslink-cloud")
        .sqlx_logging(false);
    if let Some(tenure) = tenure.cloned() {
        options.map_sqlx_postgres_pool_opts(move |pool| tenure.guard(pool));
    }
    options
}

fn limited(options: PgConnectOptions) -> PgConnectOptions {
    let given = options.get_options().unwrap_or_default().to_owned();
    options.options(LIMITS.into_iter().filter(|(name, _)| !given.contains(name)))
}

async fn migrate(pool: &DatabaseConnection) -> std::result::Result<(), DbErr> {
    let lock = pool.begin().await?;
    lock.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    MainMigrator::up(pool, None).await?;
    ChunkMigrator::up(pool, None).await?;
    lock.rollback().await
}

/// The pool that writes, for as long as the tenure goes on.
#[derive(Debug, Clone)]
pub(in crate::store) struct Writer {
    pool: DatabaseConnection,
    tenure: Option<Tenure>,
}

impl Writer {
    /// Runs an operation in a transaction of its own; returns after its commit. A caller that goes away does not take it
    /// along.
    pub(super) async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        // Ends by itself: every run has a limit, and there are few.
        let write = tokio::spawn(write_owned(self.clone(), input, operation));
        write.await.unwrap_or_else(|error| Err(Error::maybe_done(error)))
    }

    /// Nobody waits for a session that no longer comes.
    async fn begin(&self) -> std::result::Result<DatabaseTransaction, DbErr> {
        let begun = during(self.tenure.as_ref(), self.pool.begin()).await;
        begun.unwrap_or_else(|| Err(DbErr::Custom(TAKEN.to_owned())))
    }
}

async fn write_owned<I: Sync, T>(writer: Writer, input: I, operation: Operation<I, T>) -> Result<T> {
    let mut runs = 1;
    loop {
        let most = |error: &DbErr| match code(error).as_deref() {
            Some(LOCK_NOT_AVAILABLE) => MOST_LOCK_WAITS,
            _ => MOST_RUNS,
        };
        let mut committing = false;
        let run = timeout(TRANSACTION_WITHIN, run(&writer, &input, operation, &mut committing));
        let run = run.await.unwrap_or_else(|_| Err(no_answer()));
        let error = match run {
            Ok(value) => return Ok(value),
            Err(Failure::Db(error)) if runs < most(&error) && may_retry(&error) => error,
            // No word about the commit itself: it may have been made.
            Err(Failure::Db(error)) if committing && !was_undone(&error) => return Err(in_doubt(&error)),
            Err(failure) => return Err(Error::from(failure)),
        };
        tracing::debug!(%error, runs, "transaction lost a race and is run again");
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000) * u64::from(runs))).await;
        runs += 1;
    }
}

fn no_answer() -> Failure {
    let message = format!("no answer within {} s", TRANSACTION_WITHIN.as_secs());
    Failure::Db(DbErr::Custom(message))
}

async fn run<I, T>(
    writer: &Writer,
    input: &I,
    operation: Operation<I, T>,
    committing: &mut bool,
) -> std::result::Result<T, Failure> {
    let mut tx = Tx::sql(writer.begin().await?);
    let result = operation(&tx, input).await;
    let verdict = tx.verdict(result);
    let TxEngine::Sql(tx) = tx.into_engine() else {
        return verdict;
    };
    match verdict {
        Ok(value) => {
            *committing = true;
            tx.commit().await?;
            Ok(value)
        }
        Err(failure) => {
            if let Err(error) = tx.rollback().await {
                // The connection is gone, and the transaction with it.
                tracing::debug!(%error, "rollback was not heard");
            }
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_the_url_sets_is_left_alone() {
        let given = |url: &str| {
            let options: PgConnectOptions = url.parse().unwrap();
            limited(options).get_options().unwrap_or_default().to_owned()
        };
        let ours = given("postgres://me@host/db");
        for (name, value) in LIMITS {
            assert!(ours.contains(&format!("-c {name}={value}")), "{ours}");
        }
        let theirs = given("postgres://me@host/db?options=-c%20lock_timeout%3D1min");
        assert!(
            theirs.contains("lock_timeout=1min") && !theirs.contains("lock_timeout=3s"),
            "{theirs}"
        );
        assert!(theirs.contains("statement_timeout=15s"), "{theirs}");
    }
}
