//! The sql executor: runs a script statement by statement on a connection of this machine, as the database's own client
//! would.
//!
//! [`split`] finds the statements, a [`session`] talks to the database, [`table`] turns rows into events, [`error`] says
//! what went wrong and where, [`guard`] ends what shall end. Credentials come from the connections file and are never part
//! of a task.

#[cfg(test)]
mod conformance;
mod error;
mod finish;
mod guard;
mod mysql;
mod postgres;
mod read_only;
mod script;
mod session;
mod split;
mod sqlite;
mod table;

use std::time::Duration;

use async_trait::async_trait;
use opslink::{kind::SqlSpec, problem::Problem, reason::Reason};

use super::{Context, Failure, Finish, KindExecutor};
use crate::connections::{Connection, Kind};
use script::{Rules, Run};
use session::{CONNECT_TIMEOUT, OpenError, Quoting, Sent, Session, timed};
use split::{Dialect, Statement};
use table::Tables;

/// A farewell is a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Runs SQL on PostgreSQL, MySQL, MariaDB and SQLite.
pub(super) struct Sql;

#[async_trait]
impl KindExecutor for Sql {
    type Spec = SqlSpec;

    // Nothing is validated ahead. The dialect is known only with the connection: the script is split when it runs, before
    // anything is sent.

    async fn run(&self, spec: &SqlSpec, ctx: &Context) -> Result<Finish, Failure> {
        let connection = ctx.connections.find(spec.connection.as_deref())?;
        let read_only = spec.read_only || connection.is_read_only;
        let dialect = dialect(connection.kind);
        let mut statements = prepare(spec, dialect, Quoting::default(), read_only)?;
        let session = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Ok(finish::canceled()),
            session = open(connection, read_only) => session?,
        };
        let quoting = session.quoting();
        if quoting != Quoting::default() {
            statements = prepare(spec, dialect, quoting, read_only)?;
        }
        let rules = Rules {
            spec,
            connection: &connection.name,
            read_only,
            quoting,
        };
        Run::new(rules, ctx, session).all(&statements).await
    }
}

/// Splits the script and refuses what cannot be run, before anything is sent.
fn prepare(spec: &SqlSpec, dialect: Dialect, quoting: Quoting, read_only: bool) -> Result<Vec<Statement>, Failure> {
    let refused = |reason: Reason| {
        move |error: split::Error| {
            let problem = Problem::new(reason).with("line", error.line.to_string());
            error::failure(problem.with("detail", error.message))
        }
    };
    let statements = split::split_as(&spec.script, dialect, quoting).map_err(refused(Reason::SqlSyntax))?;
    if read_only {
        read_only::check(dialect, &spec.script, &statements).map_err(refused(Reason::ReadOnlyRefused))?;
    }
    Ok(statements)
}

const fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::Postgres => Dialect::Postgres,
        Kind::Mysql => Dialect::Mysql,
        Kind::Sqlite => Dialect::Sqlite,
    }
}

/// Opens a session and brings it into the state that the connection's entry asks for.
async fn open(connection: &Connection, read_only: bool) -> Result<Box<dyn Session>, Failure> {
    let opened = match connection.kind {
        Kind::Postgres => postgres::open(connection).await,
        Kind::Mysql => mysql::open(connection).await,
        Kind::Sqlite => sqlite::open(connection, read_only).await,
    };
    let mut session = opened.map_err(|error| match error {
        OpenError::Entry(failure) => failure,
        OpenError::Database(error) => error::connect(&connection.name, &error),
    })?;
    for (index, sql) in connection.session.iter().enumerate() {
        let ran = timed(CONNECT_TIMEOUT, session.execute(Sent::sql(sql), &mut Tables::silent())).await;
        if let Err(error) = ran {
            let detail = format!("statement {} of its session failed: {error}", index + 1);
            return Err(error::invalid(&connection.name, &detail));
        }
    }
    Ok(session)
}
