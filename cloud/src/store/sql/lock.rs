//! One cloud per PostgreSQL database: a lock of the session that took it, so it never outlives the process. What may
//! outlive the lock is ended by whoever takes it next, see [`tenure`].

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

use super::{
    open::{OpenError, without_password},
    tenure::{self, Tenure},
};

/// The advisory lock ("OneCloud" in ASCII). Such locks belong to one database of the server.
const LOCK: i64 = 0x4f6e_6543_6c6f_7564;
/// Longest wait for one answer, and for a server that is just starting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for a cloud that was just killed to lose its session, and for what is left of it to be ended.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(10);
/// Longest wait for a session of ours that was cut to be gone at the server too.
const WAIT_FOR_FORMER: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(200);
/// How often whoever was told to end is looked for; it takes milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the session is used, so that a lost one is noticed and taken again before anybody else takes the lock. The
/// answer costs the server nothing.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Lets the server notice within half a minute that the machine of the holder is gone.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// A session of ours that the server has not noticed to be gone would look like another cloud.
const END_FORMER: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
const BACKEND: &str = "SELECT pg_backend_pid()";

/// Held by the one cloud that works on a database. Dropping it frees the database.
#[derive(Debug)]
pub struct DatabaseLock {
    keeper: JoinHandle<()>,
    tenure: Tenure,
    url: String,
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl DatabaseLock {
    /// Takes the lock of the database at this URL, if it is one of PostgreSQL: a data folder has its own lock. Whatever
    /// an earlier cloud has still at work there is ended before this returns.
    ///
    /// # Errors
    /// The database cannot be reached, another cloud keeps it, the sessions of another cloud are not ours to end, or a
    /// pooler shares sessions.
    pub async fn take(url: &str) -> Result<Option<Self>, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Ok(None);
        }
        let place = Place::new(url)?;
        let mut session = place.connect().await?;
        if !wait_for_lock(&mut session, WAIT_FOR_OTHER).await.map_err(open_error)? {
            return Err(OpenError::InUse { url: place.shown });
        }
        place.begin_tenure(&mut session).await?;
        let (tenure, url) = (place.tenure.clone(), place.shown.clone());
        // Ends when the lock is dropped, or when it says that the lock is lost.
        let keeper = tokio::spawn(keep(place, session));
        Ok(Some(Self { keeper, tenure, url }))
    }

    /// Returns what every session of this cloud belongs to, see [`Options`](super::Options).
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits until it shows that another cloud has taken the database while our session was cut, be it gone again or
    /// not. There is nothing to go on with then: each of the two would know only a part of what is going on. Returns
    /// the URL, without its password.
    pub async fn lost(&self) -> &str {
        self.tenure.ended().await;
        &self.url
    }
}

/// Where the lock is, and the name by which all sessions of this process are known there.
struct Place {
    options: PgConnectOptions,
    shown: String,
    tenure: Tenure,
}

impl Place {
    fn new(url: &str) -> Result<Self, OpenError> {
        let shown = without_password(url);
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| OpenError::Url {
            url: shown.clone(),
            why: error.to_string(),
        })?;
        let tenure = Tenure::new();
        let name = format!("opslink-cloud lock {}", tenure.cloud());
        Ok(Self {
            options: options.application_name(&name),
            shown,
            tenure,
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

    /// Begins our tenure through the session that has the lock: when this returns, nobody else is at work.
    async fn begin_tenure(&self, session: &mut PgConnection) -> Result<(), OpenError> {
        if self.is_shared(session).await.map_err(open_error)? {
            return Err(shared());
        }
        // Once before, so that a cloud which may not end the sessions of another one has changed nothing.
        self.end_sessions(session).await?;
        within(self.tenure.begin(session)).await.map_err(open_error)?;
        self.end_sessions(session).await
    }

    /// Says whether two sessions of ours are one at the server.
    async fn is_shared(&self, session: &mut PgConnection) -> Result<bool, sqlx::Error> {
        // It never has the lock, and must not look as if it waited for it.
        let options = self.options.clone().application_name("opslink-cloud");
        let mut other = within(PgConnection::connect_with(&options)).await?;
        let ours: i32 = within(sqlx::query_scalar(BACKEND).fetch_one(&mut *session)).await?;
        let theirs: i32 = within(sqlx::query_scalar(BACKEND).fetch_one(&mut other)).await?;
        Ok(ours == theirs)
    }

    async fn end_sessions(&self, session: &mut PgConnection) -> Result<(), OpenError> {
        let give_up = Instant::now() + WAIT_FOR_OTHER;
        let mut most = 0;
        loop {
            let left = within(tenure::end_sessions(session)).await.map_err(not_ours_to_end)?;
            most = most.max(left);
            if left == 0 {
                break;
            }
            if Instant::now() >= give_up {
                let url = self.shown.clone();
                return Err(OpenError::InUse { url });
            }
            sleep(LOOK_EVERY).await;
        }
        if most > 0 {
            tracing::info!(sessions = most, "an earlier cloud had sessions left; they were ended");
        }
        Ok(())
    }

    /// Takes the lock again; absent when another cloud has it, or has had it.
    async fn again(&self) -> Result<Option<PgConnection>, sqlx::Error> {
        let mut session = self.session().await?;
        within(sqlx::query(END_FORMER).execute(&mut session)).await?;
        if !wait_for_lock(&mut session, WAIT_FOR_FORMER).await? {
            return Ok(None);
        }
        let is_ours = within(self.tenure.goes_on(&mut session)).await?;
        Ok(is_ours.then_some(session))
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
async fn keep(place: Place, mut held: PgConnection) {
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
            Ok(None) => return place.tenure.end(),
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

/// A pooler that gives one session of the server to several of ours would give locks of the one to the others.
fn shared() -> OpenError {
    OpenError::Database {
        reason: "DATABASE_NOT_OPENED",
        why: "a pooler gives one session of the server to several of ours, which must stay apart".to_owned(),
        fix: "use the URL of the server itself, or of a pooler that keeps sessions apart",
    }
}

fn not_ours_to_end(error: sqlx::Error) -> OpenError {
    match open_error(error) {
        OpenError::Database {
            reason: reason @ "DATABASE_PERMISSION_DENIED",
            why,
            ..
        } => OpenError::Database {
            reason,
            why: format!("sessions of another cloud are left there, and this user may not end them: {why}"),
            fix: "stop the other cloud, or let both have the same user in the database URL",
        },
        other => other,
    }
}

fn open_error(error: sqlx::Error) -> OpenError {
    let error = DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)));
    OpenError::database(&error)
}
