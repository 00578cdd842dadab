//! One cloud at work per PostgreSQL database, down to each session: none outlives the tenure of its cloud.
//!
//! The lock of the database belongs to one session and is gone with it, while the pools of the same cloud may be at
//! work. So whoever takes the lock begins a tenure, and every session of a pool is one of a tenure:
//!
//! ```text
//! the next cloud, with the lock: writes its tenure down, commits ─► ends whoever holds SESSIONS, until nobody does
//! a new session of a pool:       takes SESSIONS, shared          ─► reads whose tenure it is; not ours: is closed
//! ```
//! A session of the cloud before held `SESSIONS` when the next cloud looked, and was ended; or it took it later, and
//! reads whose tenure it is now. So the next cloud begins when nothing that the one before has in hand can be committed
//! any more. A session pays for this once, a transaction never.

use std::io;

use sea_orm::sqlx::{
    self,
    postgres::{PgConnection, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

/// The advisory lock that each session of a pool holds, shared ("InTenure" in ASCII). Nobody takes it for itself alone,
/// so nobody waits for it: it only shows who is there.
const SESSIONS: i64 = 0x496e_5465_6e75_7265;
/// No migration: whoever migrates has its tenure already. It has one row.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS tenure (id smallint NOT NULL PRIMARY KEY CHECK (id = 1), cloud text NOT NULL)";
const BEGIN: &str =
    "INSERT INTO tenure (id, cloud) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET cloud = excluded.cloud";
/// How `pg_locks` shows a key of 64 bits: its halves, and 1 behind them.
const END_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
     WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND classid = ($1::bigint >> 32)::oid AND objid = ($1::bigint & 4294967295)::oid AND objsubid = 1";
/// What is said of everything that a cloud wants from its database after its tenure.
pub(super) const TAKEN: &str = "another cloud has taken the database";

/// The time in which a database is one cloud's. All clones are one.
#[derive(Debug, Clone)]
pub struct Tenure {
    /// Random, not counted: a database that has failed over may have forgotten the last one, and no two may be alike.
    cloud: String,
    ended: CancellationToken,
}

impl Tenure {
    pub(super) fn new() -> Self {
        Self {
            cloud: uuid::Uuid::new_v4().simple().to_string(),
            ended: CancellationToken::new(),
        }
    }

    /// The name under which it is written down.
    pub(super) fn cloud(&self) -> &str {
        &self.cloud
    }

    /// Writes it down, through the session that has the lock of the database: who has lost the lock cannot.
    pub(super) async fn begin(&self, lock: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(TABLE).execute(&mut *lock).await?;
        sqlx::query(BEGIN).bind(self.cloud.as_str()).execute(&mut *lock).await?;
        Ok(())
    }

    /// Says whether nobody has begun another one since.
    pub(super) async fn goes_on(&self, session: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let query = sqlx::query_scalar("SELECT cloud FROM tenure");
        let cloud: Option<String> = query.fetch_optional(&mut *session).await?;
        Ok(cloud.as_ref() == Some(&self.cloud))
    }

    /// Ends it here: another cloud has the database.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What `work` comes to; absent when the tenure ends before.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ended.run_until_cancelled(work).await
    }

    /// Makes every session of a pool one of this tenure.
    pub(super) fn guard(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let tenure = self.clone();
        pool.after_connect(move |session, _| {
            let tenure = tenure.clone();
            Box::pin(async move { tenure.admit(session).await })
        })
    }

    /// Two statements, and none around them: what the second reads was committed after the first had the lock.
    async fn admit(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        let shared = sqlx::query("SELECT pg_advisory_lock_shared($1)").bind(SESSIONS);
        shared.execute(&mut *session).await?;
        if self.goes_on(session).await? {
            return Ok(());
        }
        // The pool would try again until its patience ends; whoever waits for a session need not.
        self.end();
        Err(io::Error::other(TAKEN).into())
    }
}

/// Ends the sessions of every tenure; returns how many were there.
pub(super) async fn end_sessions(lock: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let query = sqlx::query_scalar(END_SESSIONS).bind(SESSIONS);
    query.fetch_one(&mut *lock).await
}
