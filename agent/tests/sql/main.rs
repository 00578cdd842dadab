//! The sql executor against real databases: SQLite files, PostgreSQL, MariaDB.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod limits;
mod mysql;
mod postgres;
mod support;
mod tls;

use std::time::{Duration, Instant};

use opslink::{
    event::ColumnKind,
    task::{ExecutionState, SqlOnError, SqlSpec, SqlTransaction},
};
use opslink_harness::database::Database;
use support::{cells, run, run_with, spec};
use tokio_util::sync::CancellationToken;

/// What every database must do alike.
async fn common_behaviour(url: &str) {
    let ran = run(
        url,
        spec("CREATE TABLE shop (id INT PRIMARY KEY, name VARCHAR(40));\nINSERT INTO shop VALUES (1, 'café;'), (2, NULL);\nSELECT id, name FROM shop ORDER BY id;"),
    )
    .await;
    assert_eq!(ran.state(), ExecutionState::Succeeded, "{:?}", ran.result);
    assert_eq!(ran.ends[1].rows_affected, Some(2));
    assert_eq!(ran.ends[1].tag, "INSERT");
    assert_eq!(
        ran.rows.iter().map(|row| cells(row)).collect::<Vec<_>>(),
        [["1", "café;"], ["2", "NULL"]]
    );
    assert_eq!(ran.ends[2].rows_returned, 2);
    assert_eq!(ran.headers[0].columns[0].kind, ColumnKind::Number);
    assert_eq!(ran.headers[0].statement, 2);

    let empty = run(url, spec("SELECT id, name FROM shop WHERE id > 100")).await;
    assert_eq!(empty.state(), ExecutionState::Succeeded);
    let names: Vec<&str> = empty.headers[0]
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["id", "name"], "an empty result has its columns");

    let cut = run(
        url,
        SqlSpec {
            max_rows: Some(1),
            ..spec("SELECT id FROM shop ORDER BY id")
        },
    )
    .await;
    assert_eq!(
        (cut.rows.len(), cut.ends[0].rows_returned, cut.ends[0].rows_cut),
        (1, 2, true)
    );

    let stopped = run(
        url,
        spec("SELECT 1;\nSELECT * FROM no_such_table;\nINSERT INTO shop VALUES (3, 'x')"),
    )
    .await;
    assert_eq!(stopped.state(), ExecutionState::Failed);
    assert_eq!(stopped.result.as_ref().unwrap().reason, "SQL_FAILED");
    assert_eq!(stopped.error().line, 2);
    assert_eq!(stopped.ends.len(), 2, "nothing is sent after the error");
    assert!(
        stopped
            .notes
            .iter()
            .any(|note| note.contains("1 statement after this one was not sent"))
    );

    let continued = SqlSpec {
        on_error: SqlOnError::Continue,
        ..spec("SELECT * FROM no_such_table; INSERT INTO shop VALUES (3, 'x')")
    };
    let continued = run(url, continued).await;
    assert_eq!((continued.state(), continued.ends.len()), (ExecutionState::Failed, 2));
    assert_eq!(continued.ends[1].rows_affected, Some(1));

    let single = SqlSpec {
        transaction: SqlTransaction::Single,
        ..spec("INSERT INTO shop VALUES (4, 'gone'); INSERT INTO shop VALUES (1, 'twice')")
    };
    assert_eq!(run(url, single).await.state(), ExecutionState::Failed);
    let after = run(url, spec("SELECT count(*) FROM shop")).await;
    assert_eq!(cells(&after.rows[0]), ["3"], "one transaction rolls back as a whole");

    let read_only = SqlSpec {
        read_only: true,
        ..spec("DELETE FROM shop")
    };
    assert_eq!(run(url, read_only).await.state(), ExecutionState::Failed);

    let mut long = "-- padding\n".repeat(733);
    long.push_str("SELEKT 1;\n");
    let broken = run(url, spec(&long)).await;
    assert_eq!(broken.error().line, 734);
}

/// A statement that would run for a minute ends when it is canceled, or when its own time is over.
async fn ends_on_request(url: &str, slow: &str) {
    let started = Instant::now();
    let canceled = run_with(url, spec(&format!("{slow}; SELECT 1")), Some(CancellationToken::new())).await;
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "canceled after {:?}",
        started.elapsed()
    );
    assert_eq!(canceled.result.as_ref().unwrap().reason, "CANCELED");
    assert_eq!(canceled.ends.len(), 1);

    let started = Instant::now();
    let timed = SqlSpec {
        statement_timeout: Some(Duration::from_secs(1)),
        ..spec(slow)
    };
    let timed = run(url, timed).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(timed.result.as_ref().unwrap().reason, "STATEMENT_TIMEOUT");
}

#[tokio::test]
async fn sqlite_does_what_every_database_does() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("shop.db").display());
    common_behaviour(&url).await;
    ends_on_request(
        &url,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000) SELECT count(*) FROM n",
    )
    .await;
    let types = run(&url, spec("SELECT 1, 1.0, 'a', x'00ff', NULL, 9223372036854775807")).await;
    assert_eq!(
        cells(&types.rows[0]),
        ["1", "1.0", "a", "00ff", "NULL", "9223372036854775807"]
    );
    let trigger = run(
        &url,
        spec("CREATE TRIGGER t AFTER DELETE ON shop BEGIN SELECT 1; SELECT 2; END; SELECT 3"),
    )
    .await;
    assert_eq!(trigger.ends.len(), 2);
}

#[tokio::test]
async fn a_sqlite_folder_that_is_not_there_is_told() {
    let ran = run("sqlite:///no/such/folder/file.db", spec("SELECT 1")).await;
    assert_eq!(ran.result.unwrap_err().reason, "DATABASE_DOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_what_every_database_does_and_more() {
    let mut database = Database::postgres().unwrap();
    let url = database.url();
    common_behaviour(&url).await;
    ends_on_request(&url, "SELECT pg_sleep(60)").await;

    let types = "CREATE TYPE mood AS ENUM ('glad'); SELECT 1::int8, 1.50::numeric, true, '\\x00ff'::bytea, \
                 '{\"a\": 1}'::jsonb, ARRAY[1,2], 'glad'::mood, date '2026-01-02', NULL::int";
    let types = run(&url, spec(types)).await;
    assert_eq!(
        cells(&types.rows[0]),
        [
            "1",
            "1.50",
            "t",
            "\\x00ff",
            "{\"a\": 1}",
            "{1,2}",
            "glad",
            "2026-01-02",
            "NULL"
        ],
        "{:?}",
        types.result
    );

    let notice = run(&url, spec("DO $$ BEGIN RAISE NOTICE 'hello; %', 1; END $$")).await;
    assert_eq!(notice.notes, ["hello; 1"]);

    let copy = run(&url, spec("COPY shop FROM stdin;\n10\tten\n11\t\\N\n\\.\nSELECT id, name FROM shop WHERE id >= 10 ORDER BY id;\nCOPY (SELECT 'out;put') TO STDOUT;")).await;
    assert_eq!(copy.state(), ExecutionState::Succeeded, "{:?}", copy.result);
    assert_eq!(copy.ends[0].rows_affected, Some(2));
    assert_eq!(
        copy.rows.iter().map(|row| cells(row)).collect::<Vec<_>>(),
        [["10", "ten"], ["11", "NULL"]]
    );
    assert_eq!(copy.stdout, "out;put\n");

    let place = run(&url, spec("SELECT 1;\n\nSELECT id,\n       nme FROM shop;")).await;
    assert_eq!((place.error().line, place.error().column), (4, 8));
    assert_eq!(place.error().code, "42703");
    assert!(!place.error().hint.is_empty());

    let password = run(&database.url_with("wrong"), spec("SELECT 1")).await;
    assert_eq!(password.result.unwrap_err().reason, "DATABASE_AUTH");
    let tls = run(&format!("{url}?sslmode=require"), spec("SELECT 1")).await;
    assert_eq!(tls.result.unwrap_err().reason, "DATABASE_TLS");

    database.kill();
    let down = run(&url, spec("SELECT 1")).await;
    assert_eq!(down.result.unwrap_err().reason, "DATABASE_DOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_does_what_every_database_does_and_more() {
    let database = Database::mariadb().unwrap();
    let url = database.url();
    common_behaviour(&url).await;
    ends_on_request(&url, "SELECT SLEEP(60) FROM shop").await;

    let procedure =
        "DELIMITER //\nCREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 'x' AS b; END//\nDELIMITER ;\nCALL two();";
    let sets = run(&url, spec(procedure)).await;
    assert_eq!(sets.state(), ExecutionState::Succeeded, "{:?}", sets.result);
    assert_eq!(
        sets.headers.len(),
        2,
        "a procedure returns its result sets one after the other"
    );

    let types = run(
        &url,
        spec("SELECT 1, 1.50, 'a', x'00ff', NULL, CAST('2026-01-02' AS DATE), 18446744073709551615"),
    )
    .await;
    assert_eq!(
        cells(&types.rows[0]),
        ["1", "1.50", "a", "00ff", "NULL", "2026-01-02", "18446744073709551615"]
    );

    let place = run(&url, spec("SELECT 1;\nSELECT id\nFORM shop WHERE;")).await;
    assert_eq!(place.error().line, 3);

    let password = run(&database.url_with("wrong"), spec("SELECT 1")).await;
    assert_eq!(password.result.unwrap_err().reason, "DATABASE_AUTH");
}
