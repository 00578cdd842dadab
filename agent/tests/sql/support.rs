//! Running scripts and looking at what they said.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    event::{Event, EventBody, StatementEnd, TableHeader},
    rows::Joiner,
    task::{Action, ExecutionState, SqlOnError, SqlSpec, SqlTransaction},
};
use opslink_agent::{
    connections::{Connection, Connections},
    executor::{self, Context, Executor, Failure, Finish, Setting, Settled, Sink},
};
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
pub(crate) struct Ran {
    pub(crate) result: Result<Finish, Failure>,
    pub(crate) headers: Vec<TableHeader>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) ends: Vec<StatementEnd>,
    pub(crate) notes: Vec<String>,
    /// Pieces of rows too large for a batch.
    pub(crate) pieces: usize,
    pub(crate) stdout: String,
}

impl Ran {
    pub(crate) fn state(&self) -> ExecutionState {
        self.result
            .as_ref()
            .map_or(ExecutionState::Failed, |finish| finish.state)
    }

    pub(crate) fn reason(&self) -> &str {
        match &self.result {
            Ok(finish) => &finish.reason,
            Err(failure) => failure.reason,
        }
    }

    /// The first cell of the last row.
    pub(crate) fn last(&self) -> &str {
        self.rows.last().and_then(|row| row[0].as_deref()).unwrap_or("NULL")
    }

    pub(crate) fn error(&self) -> &opslink::event::StatementError {
        self.ends
            .iter()
            .find_map(|end| end.error.as_ref())
            .expect("a statement failed")
    }
}

pub(crate) fn sql_executor() -> Box<dyn Executor> {
    executor::all()
        .into_iter()
        .find(|executor| executor.kind() == "sql")
        .expect("the sql executor")
}

pub(crate) fn spec(script: &str) -> SqlSpec {
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

pub(crate) async fn run_with(url: &str, spec: SqlSpec, cancel_at_start: Option<CancellationToken>) -> Ran {
    let connection = Connection::new("main", url).unwrap();
    run_on(connection, spec, cancel_at_start, Duration::from_secs(5)).await
}

pub(crate) async fn run_on(
    connection: Connection,
    spec: SqlSpec,
    cancel_at_start: Option<CancellationToken>,
    grace: Duration,
) -> Ran {
    let cancel = cancel_at_start.clone().unwrap_or_default();
    collect(connection, spec, cancel, cancel_at_start, grace).await
}

/// The same, canceled by whoever holds the token.
pub(crate) async fn run_canceled(
    connection: Connection,
    spec: SqlSpec,
    cancel: CancellationToken,
    grace: Duration,
) -> Ran {
    collect(connection, spec, cancel, None, grace).await
}

async fn collect(
    connection: Connection,
    spec: SqlSpec,
    cancel: CancellationToken,
    cancel_at_start: Option<CancellationToken>,
    grace: Duration,
) -> Ran {
    let sink = Arc::new(Collector {
        bodies: Mutex::default(),
        cancel_at_start,
    });
    let ctx = Context {
        sink: sink.clone(),
        cancel,
        grace,
        scratch: std::env::temp_dir(),
        connections: Arc::new(Connections::new(vec![connection]).unwrap()),
        settled: Settled::default(),
        setting: Setting::default(),
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
        pieces: 0,
        stdout: String::new(),
    };
    let mut joiner = Joiner::default();
    for body in sink.bodies.lock().unwrap().drain(..) {
        ran.pieces += usize::from(matches!(body, EventBody::RowPiece(_)));
        let Some(body) = joiner.body(body) else { continue };
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

pub(crate) async fn run(url: &str, spec: SqlSpec) -> Ran {
    run_with(url, spec, None).await
}

pub(crate) fn cells(row: &[Option<String>]) -> Vec<&str> {
    row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect()
}
