//! Rows of a large SELECT to the command line, beside `psql` over ssh.

use anyhow::{Context, Result};
use opslink_harness::{Fleet, database, database::Database, programs};

use crate::{dispatch::timed, figure::Figure, ssh::Ssh};

const ROWS: f64 = 1_000_000.0;
const ROUNDS: usize = 5;
const SELECT: &str = "SELECT id, name, amount, at FROM big";

pub(crate) fn run() -> Result<Vec<Figure>> {
    let postgres = Database::postgres()?;
    postgres.client(
        "CREATE TABLE big AS SELECT n AS id, 'customer ' || n AS name, (n % 1000)::numeric / 10 AS amount, \
         timestamp '2026-01-01' + n * interval '1 second' AS at FROM generate_series(1, 1000000) n",
    )?;
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let agent = fleet.agent("prod")?;
    agent.set_connections(&[("main", &postgres.url())])?;
    agent.stop();
    agent.start()?;

    let ssh = Ssh::start().ok();
    let psql = programs::postgres("psql").context("psql is not installed")?;
    let url = postgres.url_with(database::PASSWORD);
    let remote = format!("{} -X -At -c '{SELECT}' {url}", psql.display());
    let (mut ours, mut mux) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(
            ROWS * 1e3
                / timed(
                    &mut fleet
                        .ctl
                        .command(["run", "sql", "-a", "prod", "-o", "tsv", "-e", SELECT])?,
                )?,
        );
        if let Some(ssh) = &ssh {
            mux.push(ROWS * 1e3 / timed(ssh.mux().arg(&remote))?);
        }
    }
    Ok(vec![
        Figure::new("sql_rows", "rows/s", ours).beside("ssh mux psql -At", mux),
    ])
}
