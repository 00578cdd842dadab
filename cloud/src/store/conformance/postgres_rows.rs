//! Which rows a write touches on PostgreSQL, and for which it waits: a row that all writes touch is one line for all of
//! them.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::{sync::Notify, time::timeout};

use super::{postgres::Database, *};
use crate::store::{self, Tx, agent::conformance::joined};

/// Longest wait for anything: only reached by a failing test.
const LIMIT: Duration = Duration::from_secs(20);

/// A transaction that has written, and does not commit before it may.
struct Open {
    writes: Vec<ExecutionWrite>,
    has_written: Arc<Notify>,
    may_commit: Arc<Notify>,
}

fn write_and_wait<'a>(tx: &'a Tx, open: &'a Open) -> BoxFuture<'a, store::Result<Vec<(bool, Execution)>>> {
    Box::pin(async move {
        let answers = tx.execution_apply(&open.writes, &None).await?;
        open.has_written.notify_one();
        open.may_commit.notified().await;
        Ok(answers)
    })
}

#[tokio::test]
async fn tasks_change_side_by_side_and_none_waits_for_the_commit_of_another() {
    let database = Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default()).await;
    let store = store.expect("opens");
    let (first, of_first) = stored_task(&store, &["a", "b"]).await;
    let (second, of_second) = stored_task(&store, &["a", "b"]).await;
    let (has_written, may_commit) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let input = Open {
        writes: of_first.iter().map(dispatch).collect(),
        has_written: has_written.clone(),
        may_commit: may_commit.clone(),
    };
    let writer = store.clone();
    let open = tokio::spawn(async move { writer.write(input, write_and_wait).await });
    let written = timeout(LIMIT, has_written.notified()).await;
    written.expect("the first transaction writes");

    // A lock of the first one would end each of these with an error, before the first one ends.
    let dispatched = applied(&store, dispatch(&of_second[0])).await;
    let ended = applied(&store, end(&dispatched, ExecutionState::Succeeded)).await;
    let wish = store.task_request_cancel(second.id, &[], audit("task.cancel")).await;
    wish.expect("a wish to cancel");
    let (third, _) = stored_task(&store, &["a"]).await;
    let seen = store.execution_changes(second.id, 0, 10).await.expect("changes");
    assert_eq!(seen.first(), Some(&ended), "committed, and to be seen by everybody");
    assert!(store.task_get(third.id).await.expect("a read").is_some());
    let before = store.execution_list(first.id, None, 10).await.expect("executions");
    assert_eq!(before, of_first, "the first transaction is open all the time");

    may_commit.notify_one();
    let answers = timeout(LIMIT, open).await.expect("an end").expect("no panic");
    let answers = answers.expect("a commit");
    assert!(answers.iter().all(|(applied, _)| *applied), "{answers:?}");
    let now = store.execution_changes(first.id, 0, 10).await.expect("changes");
    assert_eq!(now.len(), 2);
    assert!(now.iter().all(|now| now.state == ExecutionState::Dispatched), "{now:?}");
    database.remove().await;
}

/// Where each row of a table is, and which transaction has put it there: no update leaves both as they were.
async fn versions(connection: &DatabaseConnection, table: &str) -> Vec<String> {
    let sql = format!("SELECT ctid::text || ' ' || xmin::text FROM {table} ORDER BY 1");
    let rows = connection.query_all_raw(Statement::from_string(DbBackend::Postgres, sql));
    let rows = rows.await.expect("rows");
    let version = |row: &sea_orm::QueryResult| row.try_get_by_index::<String>(0).expect("a version");
    rows.iter().map(version).collect()
}

#[tokio::test]
async fn signs_of_life_leave_the_rows_of_agents_as_they_are() {
    let database = Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default()).await;
    let store = store.expect("opens");
    let agents = [joined(&store, "one").await, joined(&store, "two").await];
    for agent in &agents {
        let attach = AgentAttach {
            id: agent.id,
            facts: Bytes::from_static(b"facts"),
            connections: Vec::new(),
            time: NOW,
            replica: "here".to_owned(),
            lease_until: later(40),
        };
        store.agent_attach(attach).await.expect("a link");
    }
    let connection = database.connect().await;
    let before = versions(&connection, "agent").await;
    assert_eq!(before.len(), 2);
    let seen = agents.iter().map(|agent| AgentSeen {
        id: agent.id,
        time: later(10),
    });
    let noted = store.presence_seen("here", seen.collect(), later(50)).await;
    noted.expect("signs of life");
    let list = store.agent_list().await.expect("agents");
    assert!(
        list.iter().all(|agent| agent.last_seen_at == Some(later(10))),
        "{list:?}"
    );
    assert_eq!(versions(&connection, "agent").await, before);
    let (id, labels) = (agents[0].id, agents[0].labels.clone());
    let changed = store.agent_set_labels(id, labels, audit("agent.label")).await;
    changed.expect("labels");
    assert_ne!(
        versions(&connection, "agent").await,
        before,
        "what writes such a row is noticed"
    );
    connection.close().await.expect("an end");
    database.remove().await;
}
