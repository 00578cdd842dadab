//! The questions that are asked all the time look into an index, and a task on its way takes few statements.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::sql;
use crate::store::{conformance::*, sql::SqlStore, task::sql::task_create};

/// A connection that keeps the statements that it is given, and counts the rows that they return.
struct Recorder {
    connection: DatabaseConnection,
    statements: Mutex<Vec<Statement>>,
    rows: AtomicUsize,
}

impl Recorder {
    fn keep(&self, statement: &Statement) {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.push(statement.clone());
    }

    fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.statements.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How SQLite goes about what was asked since the last look.
    async fn plan(&self) -> String {
        let mut plan = String::new();
        for statement in self.take() {
            let explained = Statement {
                sql: format!("EXPLAIN QUERY PLAN {}", statement.sql),
                ..statement
            };
            for row in self.connection.query_all_raw(explained).await.expect("a plan") {
                let detail: String = row.try_get("", "detail").expect("a detail");
                plan.push_str(&detail);
                plan.push('\n');
            }
        }
        plan
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Recorder {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.keep(&statement);
        self.connection.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.connection.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.keep(&statement);
        self.connection.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.keep(&statement);
        let rows = self.connection.query_all_raw(statement).await?;
        self.rows.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }
}

async fn recorder(folder: &std::path::Path) -> Recorder {
    let url = format!("sqlite://{}", folder.display());
    let store = SqlStore::open(&url, crate::store::sql::Options::default()).await;
    drop(store.expect("a folder opens"));
    let file = format!("sqlite://{}", folder.join("main.db").display());
    Recorder {
        connection: sea_orm::Database::connect(file).await.expect("a file"),
        statements: Mutex::default(),
        rows: AtomicUsize::new(0),
    }
}

#[tokio::test]
async fn hot_questions_look_into_an_index_and_sort_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = recorder(folder.path()).await;
    let (agent, task) = (AgentId::new(), TaskId::new());
    let check = |what: &str, plan: &str, index: &str| {
        assert!(plan.contains(index), "{what}: {plan}");
        assert!(
            !plan.contains("SCAN execution\n") && !plan.contains("TEMP B-TREE"),
            "{what}: {plan}"
        );
    };
    sql::execution_waiting(&db, agent, 10).await.expect("an answer");
    check(
        "waiting",
        &db.plan().await,
        "INDEX execution_waiting (agent_id=? AND state=?)",
    );
    sql::execution_handed_over(&db, agent).await.expect("an answer");
    check(
        "handed over",
        &db.plan().await,
        "INDEX execution_handed_over (agent_id=?)",
    );
    sql::execution_open_page(&db, agent, Some(task), 10)
        .await
        .expect("an answer");
    let plan = db.plan().await;
    check(
        "open",
        &plan,
        "INDEX execution_waiting (agent_id=? AND state=? AND task_id>?)",
    );
    check("open", &plan, "INDEX execution_handed_over (agent_id=? AND task_id>?)");
    sql::execution_held(&db, task, 10).await.expect("an answer");
    check(
        "held",
        &db.plan().await,
        "INDEX execution_state (task_id=? AND state=?)",
    );
    sql::execution_counts(&db, &[task]).await.expect("an answer");
    check("counts", &db.plan().await, "COVERING INDEX execution_state (task_id=?");
    // The largest page of a list, with all its last ends.
    let page: Vec<TaskId> = (0..512).map(|_| TaskId::new()).collect();
    sql::execution_counts(&db, &page).await.expect("an answer");
    let plan = db.plan().await;
    check("counts of a page", &plan, "COVERING INDEX execution_state (task_id=?");
    assert_eq!(plan.lines().count(), 1, "one question: {plan}");
    sql::execution_changes(&db, task, 5, 10).await.expect("an answer");
    check(
        "changes",
        &db.plan().await,
        "INDEX execution_revision (task_id=? AND revision>?)",
    );
    sql::attempt_heads(&db, task, &[agent]).await.expect("an answer");
    check(
        "attempts",
        &db.plan().await,
        "INDEX attempt_execution (task_id=? AND agent_id=?)",
    );
    sql::execution_expired(&db, NOW, Some((NOW, task, agent)), 10)
        .await
        .expect("an answer");
    check("expired", &db.plan().await, "INDEX execution_deadline");
    sql::execution_stale(&db, NOW, Some((agent, task)), 10)
        .await
        .expect("an answer");
    let plan = db.plan().await;
    // In an index that holds only what is at work: nothing that ended is read.
    let reads_ended = |line: &str| line.contains(" execution") && !line.contains("INDEX execution_handed_over");
    assert!(!plan.is_empty() && !plan.lines().any(reads_ended), "stale: {plan}");
}

#[tokio::test]
async fn many_damaged_rows_are_read_once_and_hide_nobody_behind_them() {
    const DAMAGED: usize = 250;
    const ALL: usize = 300;
    let folder = tempfile::tempdir().expect("a folder");
    let db = recorder(folder.path()).await;
    let task = new_task();
    let executions: Vec<_> = (0..ALL)
        .map(|number| queued(&task, &format!("web-{number:03}")))
        .collect();
    let created = task_create(&db, &task, &executions, &audit("task.create")).await;
    assert_eq!(created.expect("a task"), TaskCreated::New);
    let damage = format!("UPDATE execution SET attempt_number = -1 WHERE agent_name < 'web-{DAMAGED:03}'");
    db.execute_unprepared(&damage).await.expect("a change");
    db.rows.store(0, Ordering::Relaxed);
    let found = sql::execution_list(&db, task.id, None, 10).await.expect("an answer");
    let names: Vec<_> = found.iter().map(|execution| execution.agent_name.as_str()).collect();
    let expected: Vec<_> = (DAMAGED..DAMAGED + 10)
        .map(|number| format!("web-{number:03}"))
        .collect();
    assert_eq!(names, expected);
    let rows = db.rows.load(Ordering::Relaxed);
    assert!(rows <= ALL, "{rows} rows were read, and there are {ALL}");
}

#[tokio::test]
async fn a_task_on_its_way_takes_two_trips_and_nothing_of_what_is_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = recorder(folder.path()).await;
    let task = new_task();
    let execution = Execution {
        state: ExecutionState::Dispatched,
        attempt_id: Some(AttemptId::new()),
        attempt_number: 1,
        revision: 1,
        ..queued(&task, "web-1")
    };
    let created = task_create(&db, &task, std::slice::from_ref(&execution), &audit("task.create")).await;
    assert_eq!(created.expect("a task"), TaskCreated::New);
    let count = |statements: &[Statement]| {
        let parts = statements
            .iter()
            .map(|statement| statement.sql.matches("; ").count() + 1);
        (statements.len(), parts.sum::<usize>())
    };
    // Task, revision, execution, attempt, audit.
    assert_eq!(count(&db.take()), (1, 5));
    let mut write = end(&execution, ExecutionState::Succeeded);
    write.output = Some(Chunk {
        outcome: write.after.outcome.clone(),
        ..chunk(execution.attempt_id.expect("one"), 0, 10)
    });
    let answers = sql::execution_apply(&db, &[write], &None).await.expect("an end");
    assert!(answers[0].0);
    // Revision, execution, attempt, output.
    let statements = db.take();
    assert_eq!(count(&statements), (1, 4));
    let text: String = statements.into_iter().map(|statement| statement.sql).collect();
    assert!(!text.contains(" work ") && !text.contains("presence"), "{text}");
}
