//! Single INSERT statements of a file, each a transaction of its own, beside `psql` on the same file.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context, Result};
use opslink_harness::{Fleet, database, database::Database, programs};

use crate::{dispatch::timed, figure::Figure};

/// The file stays below the limit of a script.
const STATEMENTS: u32 = 5_000;
const ROUNDS: usize = 5;

pub(crate) fn run() -> Result<Vec<Figure>> {
    let postgres = Database::postgres()?;
    postgres.client("CREATE TABLE singles (id integer, name text)")?;
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let agent = fleet.agent("prod")?;
    agent.set_connections(&[("main", &postgres.url())])?;
    agent.stop();
    agent.start()?;

    let mut script = String::new();
    for number in 0..STATEMENTS {
        writeln!(script, "INSERT INTO singles VALUES ({number}, 'customer {number}');")?;
    }
    let file = fleet.path("singles.sql");
    std::fs::write(&file, script)?;
    let psql = programs::postgres("psql").context("psql is not installed")?;
    let url = postgres.url_with(database::PASSWORD);
    let rate = |milliseconds: f64| f64::from(STATEMENTS) * 1e3 / milliseconds;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let words = ["run", "sql", "-a", "prod", "-o", "tsv", "--file"];
        ours.push(rate(timed(fleet.ctl.command(words)?.arg(&file))?));
        peer.push(rate(timed(
            Command::new(&psql).args(["-X", "-q", "-f"]).arg(&file).arg(&url),
        )?));
    }
    Ok(vec![Figure::new("sql_inserts", "rows/s", ours).beside("psql -f", peer)])
}
