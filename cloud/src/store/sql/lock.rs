//! One cloud per PostgreSQL database: a lock of the session that took it, so it never outlives the process.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self, Connection,
        postgres::{PgConnectOptions, PgConnection},
    },
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::open::{OpenError, without_password};

/// The advisory lock ("OneCloud" in ASCII). Such locks belong to one database of the server.
const LOCK: i64 = 0x4f6e_6543_6c6f_7564;
/// Longest wait for one answer, and for a server that is just starting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for a cloud that was just killed to lose its session.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(10);
/// Longest wait for a session of ours that was cut to be gone at the server too.
const WAIT_FOR_FORMER: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(200);
/// How often the session is used, so that a lost one is noticed and taken again. Until then another cloud may be at
/// work beside this one, so it is short; the answer costs the server nothing.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Lets the server notice within half a minute that the machine of the holder is gone.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// A session of ours that the server has not noticed to be gone would look like another cloud.
const END_FORMER: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()";

/// Held by the one cloud that works on a database. Dropping it frees the database.
#[derive(Debug)]
pub struct DatabaseLock {
    keeper: JoinHandle<()>,
    lost: CancellationToken,
    url: String,
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl DatabaseLock {
    /// Takes the lock of the database at this URL, if it is one of PostgreSQL: a data folder has its own lock. Must not
    /// go through a pooler that shares sessions.
    ///
    /// # Errors
    /// The database cannot be reached, or another cloud keeps it.
    pub async fn take(url: &str) -> Result<Option<Self>, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Ok(None);
        }
        let place = Place::new(url)?;
        let mut session = place.connect().await?;
        if !wait_for_lock(&mut session, WAIT_FOR_OTHER).await.map_err(open_error)? {
            return Err(OpenError::InUse { url: place.shown });
        }
        let lost = CancellationToken::new();
        let url = place.shown.clone();
        // Ends when the lock is dropped, or when it says that the lock is lost.
        let keeper = tokio::spawn(keep(place, session, lost.clone()));
        Ok(Some(Self { keeper, lost, url }))
    }

    /// Waits until another cloud has taken the database while our session was cut. There is nothing to go on with then:
    /// each of the two would know only a part of what is going on. Returns the URL, without its password.
    pub async fn lost(&self) -> &str {
        self.lost.cancelled().await;
        &self.url
    }
}

/// Where the lock is, and the name by which all sessions of this process are known there.
struct Place {
    options: PgConnectOptions,
    shown: String,
}

impl Place {
    fn new(url: &str) -> Result<Self, OpenError> {
        let shown = without_password(url);
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| OpenError::Url {
            url: shown.clone(),
            why: error.to_string(),
        })?;
        let name = format!("opslink-cloud lock {}", uuid::Uuid::new_v4().simple());
        Ok(Self {
            options: options.application_name(&name),
            shown,
        })
    }

    /// A server that is just starting is given some time, as the pool gives it.
    async fn connect(&self) -> Result<PgConnection, OpenError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let error = match self.session().await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if !is_starting(&error) || Instant::now() >= give_up {
                return Err(open_error(error));
            }
            sleep(TRY_EVERY).await;
        }
    }

    async fn session(&self) -> Result<PgConnection, sqlx::Error> {
        let opened = async {
            let mut session = PgConnection::connect_with(&self.options).await?;
            sqlx::raw_sql(KEEPALIVE).execute(&mut session).await?;
            Ok(session)
        };
        within(opened).await
    }

    /// Takes the lock again; absent when another cloud has it.
    async fn again(&self) -> Result<Option<PgConnection>, sqlx::Error> {
        let mut session = self.session().await?;
        within(sqlx::query(END_FORMER).execute(&mut session)).await?;
        let held = wait_for_lock(&mut session, WAIT_FOR_FORMER).await?;
        Ok(held.then_some(session))
    }
}

async fn wait_for_lock(session: &mut PgConnection, limit: Duration) -> Result<bool, sqlx::Error> {
    let give_up = Instant::now() + limit;
    loop {
        let asked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
        if within(asked.fetch_one(&mut *session)).await? {
            return Ok(true);
        }
        if Instant::now() >= give_up {
            return Ok(false);
        }
        sleep(TRY_EVERY).await;
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silent = || {
        std::io::Error::new(
            ErrorKind::TimedOut,
            format!("no answer within {} s", PATIENCE.as_secs()),
        )
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(silent().into()))
}

/// Takes the lock again after the session was lost, for instance when the server was restarted. While the server is
/// away nobody can work on the database, so there is no reason to stop.
async fn keep(place: Place, mut held: PgConnection, lost: CancellationToken) {
    loop {
        sleep(CHECK_EVERY).await;
        if within(held.ping()).await.is_ok() {
            continue;
        }
        match place.again().await {
            Ok(Some(next)) => {
                tracing::info!("the lock of the database was lost and taken again");
                held = next;
            }
            Ok(None) => return lost.cancel(),
            Err(error) => tracing::debug!(%error, "the lock of the database cannot be taken again yet"),
        }
    }
}

fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        // cannot_connect_now
        other => matches!(other, sqlx::Error::Database(database) if database.code().as_deref() == Some("57P03")),
    }
}

fn open_error(error: sqlx::Error) -> OpenError {
    let error = DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)));
    OpenError::database(&error)
}
