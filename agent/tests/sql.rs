//! The sql executor against real databases: SQLite files, PostgreSQL, MariaDB.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opslink::{
    event::{ColumnKind, Event, EventBody, StatementEnd, TableHeader},
    task::{Action, ExecutionState, SqlOnError, SqlSpec, SqlTransaction},
};
use opslink_agent::{
    connections::{Connection, Connections},
    executor::{self, Context, Executor, Failure, Finish, Settled, Sink},
};
use opslink_harness::database::Database;
use tokio_util::sync::CancellationToken;

/// Keeps everything; and cancels when the first statement starts, if told to.
struct Collector {
    bodies: Mutex<Vec<EventBody>>,
    cancel_at_start: Option<CancellationToken>,
}

#[async_trait]
impl Sink for Collector {
    async fn emit(&self, event: Event) {
        self.emit_blocking(event);
    }

    fn emit_blocking(&self, event: Event) {
        if let (EventBody::StatementStart(_), Some(cancel)) = (&event.body, &self.cancel_at_start) {
            cancel.cancel();
        }
        self.bodies.lock().unwrap().push(event.body);
    }

    fn flush(&self) {}
}

/// What one run said, sorted by kind.
struct Ran {
    result: Result<Finish, Failure>,
    headers: Vec<TableHeader>,
    rows: Vec<Vec<Option<String>>>,
    ends: Vec<StatementEnd>,
    notes: Vec<String>,
    stdout: String,
}

impl Ran {
    fn state(&self) -> ExecutionState {
        self.result
            .as_ref()
            .map_or(ExecutionState::Failed, |finish| finish.state)
    }

    fn error(&self) -> &opslink::event::StatementError {
        self.ends
            .iter()
            .find_map(|end| end.error.as_ref())
            .expect("a statement failed")
    }
}

fn sql_executor() -> Box<dyn Executor> {
    executor::all()
        .into_iter()
        .find(|executor| executor.kind() == "sql")
        .expect("the sql executor")
}

fn spec(script: &str) -> SqlSpec {
    SqlSpec {
        script: script.to_owned(),
        connection: None,
        transaction: SqlTransaction::PerStatement,
        on_error: SqlOnError::Stop,
        max_rows: None,
        statement_timeout: None,
        read_only: false,
        name: "test.sql".to_owned(),
    }
}

async fn run_with(url: &str, spec: SqlSpec, cancel_at_start: Option<CancellationToken>) -> Ran {
    let cancel = cancel_at_start.clone().unwrap_or_default();
    let sink = Arc::new(Collector {
        bodies: Mutex::default(),
        cancel_at_start,
    });
    let ctx = Context {
        sink: sink.clone(),
        cancel,
        grace: Duration::from_secs(5),
        scratch: std::env::temp_dir(),
        connections: Arc::new(Connections::new(vec![Connection::new("main", url).unwrap()]).unwrap()),
        settled: Settled::default(),
    };
    let action = Action::Sql(spec);
    let executor = sql_executor();
    let result = match executor.validate(&action) {
        Ok(()) => executor.run(&action, &ctx).await,
        Err(failure) => Err(failure),
    };
    let mut ran = Ran {
        result,
        headers: vec![],
        rows: vec![],
        ends: vec![],
        notes: vec![],
        stdout: String::new(),
    };
    for body in sink.bodies.lock().unwrap().drain(..) {
        match body {
            EventBody::TableHeader(header) => ran.headers.push(header),
            EventBody::TableRows(rows) => {
                let text = |cell: Option<&[u8]>| cell.map(|cell| String::from_utf8(cell.to_vec()).unwrap());
                let columns: Vec<Vec<Option<String>>> = rows
                    .columns
                    .iter()
                    .map(|column| column.cells().map(text).collect())
                    .collect();
                for row in 0..rows.row_count as usize {
                    ran.rows
                        .push(columns.iter().map(|column| column[row].clone()).collect());
                }
            }
            EventBody::StatementEnd(end) => ran.ends.push(end),
            EventBody::Note(note) => ran.notes.push(note.message),
            EventBody::Output { data, .. } => ran.stdout.push_str(&String::from_utf8_lossy(&data)),
            _ => {}
        }
    }
    ran
}

async fn run(url: &str, spec: SqlSpec) -> Ran {
    run_with(url, spec, None).await
}

fn cells(row: &[Option<String>]) -> Vec<&str> {
    row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect()
}

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
            "00ff",
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
