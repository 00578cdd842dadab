//! Damaged rows, for tests: written past the store, as a disk, a bug or a person may do it.

use std::path::Path;

use opslink::id::AttemptId;
use sea_orm::ConnectionTrait;

use crate::store::record::Execution;

/// What may be wrong with an execution. Each is read by nobody.
pub(crate) const DAMAGES: &[&str] = &[
    "attempt_number = -1",
    "attempt_id = X'01'",
    "outcome = X'ff'",
    "started_at = 'soon'",
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

/// Carries out a statement in the file that holds everything but large output; returns how many rows it changed.
pub(crate) async fn run(folder: &Path, sql: &str) -> u64 {
    run_in(&folder.join("main.db"), sql).await
}

async fn run_in(file: &Path, sql: &str) -> u64 {
    let url = format!("sqlite://{}", file.display());
    let connection = sea_orm::Database::connect(url).await.expect("a file");
    let done = connection.execute_unprepared(sql).await.expect("a statement");
    connection.close().await.expect("an end");
    done.rows_affected()
}
