//! The PostgreSQL engine: a pool, ordinary transactions, and a second run when one lost a race.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, TransactionTrait};
use sea_orm_migration::MigratorTrait;

use super::{
    super::{Error, Result},
    engine::Engine,
    failure::{Failure, may_retry},
    group_commit::Operation,
    migration::{ChunkMigrator, MainMigrator},
    open::OpenError,
};

/// Longest wait for a connection: a caller rather hears that the database is away than waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Runs of one transaction. Whoever loses so many races in a row has another problem.
const MOST_RUNS: u32 = 8;
/// Advisory lock that lets replicas that start together migrate one after the other ("OpsLink" in ASCII).
const MIGRATION_LOCK: i64 = 0x4f_7073_4c69_6e6b;

/// Opens the database and brings its schema up to date.
pub(super) async fn open(url: &str, connections: u32) -> std::result::Result<(Engine, Engine), OpenError> {
    let mut options = ConnectOptions::new(url);
    options
        // Two at least: migrating holds the lock on one and works on another.
        .max_connections(connections.max(2))
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .set_application_name("opslink-cloud")
        .sqlx_logging(false);
    let opened = async {
        let pool = Database::connect(options).await?;
        migrate(&pool).await?;
        Ok(pool)
    };
    let pool = opened.await.map_err(|error: DbErr| OpenError::database(&error))?;
    Ok((Engine::Postgres { pool: pool.clone() }, Engine::Postgres { pool }))
}

async fn migrate(pool: &DatabaseConnection) -> std::result::Result<(), DbErr> {
    let lock = pool.begin().await?;
    lock.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    MainMigrator::up(pool, None).await?;
    ChunkMigrator::up(pool, None).await?;
    lock.rollback().await
}

/// Runs an operation in a transaction of its own; returns after its commit.
pub(super) async fn write<I, T>(pool: &DatabaseConnection, input: I, operation: Operation<I, T>) -> Result<T> {
    let mut runs = 1;
    loop {
        let error = match run(pool, &input, operation).await {
            Ok(value) => return Ok(value),
            Err(Failure::Db(error)) if runs < MOST_RUNS && may_retry(&error) => error,
            Err(failure) => return Err(Error::from(failure)),
        };
        tracing::debug!(%error, runs, "transaction lost a race and is run again");
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000) * u64::from(runs))).await;
        runs += 1;
    }
}

async fn run<I, T>(
    pool: &DatabaseConnection,
    input: &I,
    operation: Operation<I, T>,
) -> std::result::Result<T, Failure> {
    let tx = pool.begin().await?;
    match operation(&tx, input).await {
        Ok(value) => {
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
