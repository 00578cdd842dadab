//! The sql executor: runs a script statement by statement on a connection of this machine.
//!
//! [`split`] finds the statements, a [`session`] talks to the database, [`table`] turns rows into events, [`error`]
//! says what went wrong and where. Credentials come from the connections file and are never part of a task.

mod error;
mod mysql;
mod notice;
mod postgres;
mod script;
mod session;
mod split;
mod sqlite;
mod table;

use async_trait::async_trait;
use opslink::{
    problem::Problem,
    reason::Reason,
    task::{Action, ExecutionState, SqlSpec},
};

use super::{Context, Executor, Failure, Finish, Health};
use crate::connections::{Connection, Kind};
use script::Run;
use split::Dialect;

/// Runs SQL on PostgreSQL, MySQL, MariaDB and SQLite.
pub(super) struct Sql;

#[async_trait]
impl Executor for Sql {
    fn kind(&self) -> &'static str {
        "sql"
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    fn validate(&self, action: &Action) -> Result<(), Failure> {
        // The dialect is known only with the connection: the script is split when it runs, before anything is sent.
        spec_of(action).map(drop)
    }

    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        let spec = spec_of(action)?;
        let connection = ctx.connections.find(spec.connection.as_deref())?;
        let statements = split::split(&spec.script, dialect(connection.kind)).map_err(|error| {
            let problem = Problem::new(Reason::SqlSyntax).with("line", error.line.to_string());
            error::failure(problem.with("detail", error.message))
        })?;
        let session = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Ok(canceled()),
            session = open(connection, spec) => session?,
        };
        Run::new(spec, ctx, session).all(&statements).await
    }
}

fn spec_of(action: &Action) -> Result<&SqlSpec, Failure> {
    match action {
        Action::Sql(spec) => Ok(spec),
        Action::Shell(_) | Action::Fake(_) => Err(Failure {
            reason: "INTERNAL",
            message: format!("the sql executor was given a {} task", action.kind()),
        }),
    }
}

const fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::Postgres => Dialect::Postgres,
        Kind::Mysql => Dialect::Mysql,
        Kind::Sqlite => Dialect::Sqlite,
    }
}

async fn open(connection: &Connection, spec: &SqlSpec) -> Result<Box<dyn session::Session>, Failure> {
    let opened = match connection.kind {
        Kind::Postgres => postgres::open(connection, spec.read_only).await,
        Kind::Mysql => mysql::open(connection, spec.read_only).await,
        Kind::Sqlite => sqlite::open(connection, spec.read_only).await,
    };
    opened.map_err(|error| match error {
        session::OpenError::Secret(failure) => failure,
        session::OpenError::Database(error) => error::connect(&connection.name, &error),
    })
}

/// The runner turns this into `canceled` or `timed_out`: it knows who asked.
fn canceled() -> Finish {
    Finish {
        state: ExecutionState::Failed,
        exit_code: None,
        signal: None,
        reason: Reason::Canceled.code().to_owned(),
        message: "canceled before the end of the script".to_owned(),
    }
}
