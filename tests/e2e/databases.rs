//! SQL on databases that an agent can reach, and a cloud that keeps its own data in PostgreSQL.

use std::process::Stdio;

use anyhow::Result;
use opslink_harness::{
    Cloud, Ctl, Fleet,
    cloud::{self, Options},
    database::{Database, PASSWORD},
    wait_for,
};

use crate::support::{LIMIT, shell, text, wait_verified};

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
fn rows_beside_a_big_cell_all_arrive_and_are_verified() -> Result<()> {
    const SELECT: &str =
        "SELECT n, repeat('x', CASE WHEN n = 50 THEN 3000000 ELSE 1 END) AS x FROM generate_series(1, 100) n";
    let postgres = Database::postgres()?;
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let agent = fleet.agent("prod")?;
    agent.set_connections(&[("pg", &postgres.url())])?;
    agent.stop();
    agent.start()?;
    let rows = fleet
        .ctl
        .run(["run", "sql", "-a", "prod", "-o", "csv", "-e", SELECT])?
        .expect(0)?
        .text();
    let lengths: Vec<usize> = rows
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1))
        .map(str::len)
        .collect();
    assert_eq!(lengths.len(), 100, "no row is missing");
    assert_eq!((lengths.get(48), lengths.get(49)), (Some(&1), Some(&3_000_000)));
    let tasks = fleet.ctl.run(["task", "list", "-o", "json"])?.expect(0)?.json()?;
    wait_verified(&fleet.ctl, &text(&tasks, "/0/id")?)
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

#[test]
fn a_second_cloud_on_one_postgres_is_refused_until_the_first_is_gone() -> Result<()> {
    let postgres = Database::postgres()?;
    let url = postgres.url();
    let mut fleet = Fleet::start_with(&[("prod", "env=prod")], |options| {
        options.database_url = Some(url.clone())
    })?;
    let second = Options {
        database_url: Some(url),
        ..Options::new(fleet.path("second"))
    };
    let refused = Cloud::command(&second)?.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(6), "{said}");
    assert!(said.contains("DATABASE_IN_USE") && !said.contains(PASSWORD), "{said}");
    let goes_on = shell(&fleet.ctl, "prod", &["echo", "on"])?.expect(0)?;
    assert_eq!(goes_on.stdout, b"on\n", "the first goes on");

    // A crash leaves no lock behind, and its data is all there.
    fleet.cloud.kill();
    let second = Cloud::start(second)?;
    let ctl = Ctl::login(&second, fleet.path("second-ctl"), cloud::PASSWORD)?;
    let tasks = ctl.run(["task", "list", "-o", "json"])?.expect(0)?.json()?;
    assert_eq!(tasks.as_array().map(Vec::len), Some(1), "{tasks}");
    Ok(())
}

#[test]
fn a_cloud_whose_database_another_one_took_ends_with_the_reason() -> Result<()> {
    // Sessions that are at work hold another lock, which is shared.
    const HOLDERS: &str =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted";
    const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'opslink-cloud lock %'";
    const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks \
                       WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted";
    let mut postgres = Database::postgres()?;
    let url = postgres.url();
    let mut fleet = Fleet::start_with(&[], |options| options.database_url = Some(url.clone()))?;
    postgres.restart()?;
    wait_for("the lock to be taken again", LIMIT, || {
        postgres.client(HOLDERS).is_ok_and(|count| count.trim() == "1")
    })?;

    // The next cloud waits for the lock, and gets it when the session of the first is cut.
    let next = Options {
        database_url: Some(url),
        ..Options::new(fleet.path("next"))
    };
    let next = std::thread::scope(|scope| -> Result<Cloud> {
        let next = scope.spawn(|| Cloud::start(next));
        wait_for("the next cloud to wait", LIMIT, || {
            postgres.client(SESSIONS).is_ok_and(|count| count.trim() == "2")
        })?;
        postgres.client(CUT)?;
        next.join().expect("no panic")
    })?;
    wait_for("the first to end", LIMIT, || fleet.cloud.has_ended())?;
    let said = std::fs::read_to_string(fleet.cloud.log())?;
    assert!(said.contains("DATABASE_IN_USE"), "{said}");
    drop(next);
    Ok(())
}
