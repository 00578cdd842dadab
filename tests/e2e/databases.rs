//! SQL on databases that an agent can reach, and a cloud that keeps its own data in PostgreSQL.

use anyhow::Result;
use opslink_harness::{Fleet, database::Database};

use crate::support::shell;

#[test]
fn named_connections_lead_to_postgres_and_mariadb() -> Result<()> {
    let postgres = Database::postgres()?;
    let mariadb = Database::mariadb()?;
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let agent = fleet.agent("prod")?;
    agent.set_connections(&[
        ("pg", &postgres.url()),
        ("maria", &mariadb.url()),
        ("wrong", &postgres.url_with("not-the-password")),
        ("down", "postgres://ops:x@127.0.0.1:9/ops"),
    ])?;
    agent.stop();
    agent.start()?;
    let sql = |conn: &str, sql: &str| {
        fleet
            .ctl
            .run(["run", "sql", "-a", "prod", "--conn", conn, "-o", "csv", "-e", sql])
    };

    sql(
        "pg",
        "CREATE TABLE t (a int, b text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 1000) n",
    )?
    .expect(0)?;
    let rows = sql("pg", "SELECT a, b FROM t ORDER BY a")?.expect(0)?.text();
    assert_eq!(rows.lines().count(), 1001, "{rows}");
    assert!(
        rows.starts_with("a,b\n1,row 1\n") && rows.ends_with("1000,row 1000\n"),
        "{rows}"
    );
    assert_eq!(
        postgres.client("SELECT count(*) FROM t")?.trim(),
        "1000",
        "the database agrees"
    );

    sql("maria", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")?.expect(0)?;
    assert_eq!(sql("maria", "SELECT sum(a) AS s FROM t")?.expect(0)?.text(), "s\n3\n");

    for (conn, reason) in [
        ("wrong", "DATABASE_AUTH"),
        ("down", "DATABASE_DOWN"),
        ("nope", "CONNECTION_UNKNOWN"),
    ] {
        let ran = sql(conn, "SELECT 1")?.expect(3)?;
        assert!(ran.stderr.contains(reason), "{conn}: {}", ran.stderr);
        assert!(!ran.stderr.contains("not-the-password"), "a password is never shown");
    }
    Ok(())
}

#[test]
fn a_cloud_on_postgres_does_the_main_job() -> Result<()> {
    let postgres = Database::postgres()?;
    let url = postgres.url();
    let mut fleet = Fleet::start_with(&[("prod", "env=prod")], |options| options.database_url = Some(url))?;
    assert_eq!(shell(&fleet.ctl, "prod", &["echo", "one"])?.expect(0)?.stdout, b"one\n");
    fleet.cloud.restart()?;
    let tasks = fleet.ctl.run(["task", "list", "-o", "json"])?.expect(0)?.json()?;
    assert_eq!(tasks.as_array().map(Vec::len), Some(1), "{tasks}");
    Ok(())
}
