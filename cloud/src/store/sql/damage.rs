//! Damaged rows, for tests: written past the store, as a disk, a bug or a person may do it.

use std::path::Path;

use opslink::id::AttemptId;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::store::record::Execution;

/// What may be wrong with an execution. Each is read by nobody.
pub(crate) const DAMAGES: &[&str] = &[
    "attempt_number = -1",
    "attempt_id = X'01'",
    "outcome = X'ff'",
    "started_at = 'soon'",
    "finished_at = 'soon'",
    "revision = -1",
];

/// What may be wrong with the last chunk of an attempt. Nobody can tell the end of its output by it.
pub(crate) const CHUNK_DAMAGES: &[&str] = &["event_count = -1000000", "first_seq = 'x'", "outcome = X'ff'"];

/// Damages the row of an execution in the data folder of a SQLite store.
pub(crate) async fn damage(folder: &Path, execution: &Execution, what: &str) {
    let (task, agent) = (execution.task_id.uuid().simple(), execution.agent_id.uuid().simple());
    let sql = format!("UPDATE execution SET {what} WHERE task_id = X'{task}' AND agent_id = X'{agent}'");
    assert_eq!(run(folder, &sql).await, 1, "{sql}");
}

/// Damages the last chunk of an attempt whose output is more than one small chunk.
pub(crate) async fn damage_chunk(folder: &Path, attempt: AttemptId, what: &str) {
    let id = attempt.uuid().simple();
    let last = format!("SELECT max(first_seq) FROM chunk WHERE attempt_id = X'{id}'");
    let sql = format!("UPDATE chunk SET {what} WHERE attempt_id = X'{id}' AND first_seq = ({last})");
    assert_eq!(run_in(&folder.join("chunks.db"), &sql).await, 1, "{sql}");
}

/// First byte of a page with rows. Source: sqlite.org/fileformat2.html, 1.6.
pub(crate) const ROWS: u8 = 0x0d;
/// The same of entries of an index, and of rows that lie in the order of their key.
pub(crate) const ENTRIES: u8 = 0x0a;

/// Zeroes the first page of a table in the data folder of a SQLite store that is closed, as a bad sector may do it.
pub(crate) async fn zero_page_of(folder: &Path, table: &str) {
    let page = {
        let connection = connect(&folder.join("main.db")).await;
        let page = number(
            &connection,
            &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"),
        )
        .await;
        connection.close().await.expect("an end");
        page
    };
    zero_pages(folder, |at, _| at == page).await;
}

/// Zeroes the pages of this kind that hold all of these bytes; returns how many. One is where the row is; another may be
/// where it was.
pub(crate) async fn zero_pages_with(folder: &Path, kind: u8, needles: &[&[u8]]) -> usize {
    let holds = |page: &[u8], needle: &[u8]| page.windows(needle.len()).any(|window| window == needle);
    let is_meant =
        |_, page: &[u8]| page.first() == Some(&kind) && needles.iter().copied().all(|needle| holds(page, needle));
    zero_pages(folder, is_meant).await
}

async fn zero_pages(folder: &Path, is_meant: impl Fn(usize, &[u8]) -> bool) -> usize {
    let file = folder.join("main.db");
    let connection = connect(&file).await;
    let size = number(&connection, "SELECT page_size FROM pragma_page_size").await;
    // What is only in the log of writes would be read instead.
    let checkpoint = connection.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
    checkpoint.expect("a checkpoint");
    connection.close().await.expect("an end");
    let mut bytes = std::fs::read(&file).expect("a file");
    let mut zeroed = 0;
    for (at, page) in (1..).zip(bytes.chunks_mut(size)) {
        if is_meant(at, page) {
            page.fill(0);
            zeroed += 1;
        }
    }
    std::fs::write(&file, bytes).expect("a file");
    zeroed
}

async fn number(connection: &DatabaseConnection, sql: &str) -> usize {
    let row = connection
        .query_one_raw(Statement::from_string(DbBackend::Sqlite, sql))
        .await;
    let row = row.expect("a statement").expect("a row");
    usize::try_from(row.try_get_by_index::<i64>(0).expect("a number")).expect("a place")
}

/// Carries out a statement in the file that holds everything but large output; returns how many rows it changed.
pub(crate) async fn run(folder: &Path, sql: &str) -> u64 {
    run_in(&folder.join("main.db"), sql).await
}

async fn run_in(file: &Path, sql: &str) -> u64 {
    let connection = connect(file).await;
    let done = connection.execute_unprepared(sql).await.expect("a statement");
    connection.close().await.expect("an end");
    done.rows_affected()
}

async fn connect(file: &Path) -> DatabaseConnection {
    let url = format!("sqlite://{}", file.display());
    sea_orm::Database::connect(url).await.expect("a file")
}
