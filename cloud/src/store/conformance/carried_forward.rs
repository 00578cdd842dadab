//! A database that 0.1.0 made is carried forward: its schema by the migrations that 0.1.0 had, its rows as 0.1.0 wrote them.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

use super::{postgres::Database, *};

/// Rows of 0.1.0 in the one file or database that holds everything but chunks. `u'…'` is an id, `b'…'` are bytes.
const ROWS: &str = "
INSERT INTO setting VALUES ('instance', b'0102');
INSERT INTO users VALUES (u'0190000000007000800000000000a001', 'ann', '$argon2id$', 'admin', FALSE);
INSERT INTO session VALUES (b'aa', u'0190000000007000800000000000a001', 1, 1900000000000000);
INSERT INTO agent VALUES (u'0190000000007000800000000000b001', 'web-1', '{\"dc\":\"1\"}', b'00ff', '[[\"main\",\"postgres\",true]]', 5, 7, 3, FALSE);
INSERT INTO agent VALUES (u'0190000000007000800000000000b002', 'new', '{}', b'', '[]', 6, NULL, 0, FALSE);
INSERT INTO agent VALUES (u'0190000000007000800000000000b003', 'gone', '{}', b'', '[]', 6, NULL, 0, TRUE);
INSERT INTO agent VALUES (u'0190000000007000800000000000b004', 'idle', '{}', b'', '[]', 6, NULL, 0, TRUE);
INSERT INTO task VALUES (u'0190000000007000800000000000c001', b'0a', b'0c', 4, 2, 3600, 'ann', 9, 'r1', b'cc', 'why', FALSE);
INSERT INTO task VALUES (u'0190000000007000800000000000c002', b'0a', b'0c', 0, 0, NULL, 'ann', 9, NULL, b'cc', '', TRUE);
INSERT INTO task VALUES (u'0190000000007000800000000000c003', b'0a', b'0c', 0, 0, NULL, 'ann', 9, NULL, b'cc', '', FALSE);
INSERT INTO execution VALUES (u'0190000000007000800000000000c003', u'0190000000007000800000000000b003', 'gone', 'queued', NULL, 0, NULL, FALSE, NULL, NULL, NULL, FALSE, 3);
INSERT INTO task VALUES (u'0190000000007000800000000000c004', b'0a', b'0c', 4, 0, NULL, 'ann', 9, NULL, b'cc', '', FALSE);
INSERT INTO execution VALUES (u'0190000000007000800000000000c004', u'0190000000007000800000000000b004', 'idle', 'succeeded', NULL, 0, NULL, FALSE, NULL, NULL, NULL, FALSE, 4);
UPDATE counter SET value = 40 WHERE name = 'revision';
INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) VALUES (3, 'ann', 'admin', 'task.create', 'task/x', 'd', '');
INSERT INTO attempt VALUES (u'0190000000007000800000000000d001', u'0190000000007000800000000000c001', u'0190000000007000800000000000e003', 1, 'running', 9, NULL, NULL);
";

/// Small output, in `main.db` on SQLite.
const SMALL: &str =
    "INSERT INTO chunk VALUES (u'0190000000007000800000000000d002', 0, 2, 0, 1, 10, 1, 2, 1, NULL, b'beef');";
/// Other output.
const LARGE: &str =
    "INSERT INTO chunk VALUES (u'0190000000007000800000000000d001', 0, 5, 0, 4, 10, 1, 2, 1, NULL, b'cafe');
INSERT INTO chunk VALUES (u'0190000000007000800000000000d001', 5, 5, 4, 4, 10, 1, 2, 1, NULL, b'cafe');";

async fn run(connection: &DatabaseConnection, rows: &str) {
    let (id, bytes) = match connection.get_database_backend() {
        DbBackend::Postgres => ("'", "'\\x"),
        _ => ("X'", "X'"),
    };
    let rows = rows.replace("u'", id).replace("b'", bytes);
    connection.execute_unprepared(&rows).await.expect("rows of 0.1.0");
}

fn executions() -> String {
    let one = |(number, state): (usize, &ExecutionState)| {
        let (attempt, count) = match state {
            ExecutionState::Running => ("u'0190000000007000800000000000d001'", 1),
            _ => ("NULL", 0),
        };
        format!(
            "INSERT INTO execution VALUES (u'0190000000007000800000000000c001', u'0190000000007000800000000000e{number:03}', \
             'agent-{number:02}', '{}', {attempt}, {count}, 50, FALSE, NULL, NULL, NULL, FALSE, {});\n",
            state.word(),
            number + 20
        )
    };
    ExecutionState::ALL.iter().enumerate().map(one).collect()
}

fn task_id(last: &str) -> TaskId {
    format!("01900000-0000-7000-8000-00000000{last}")
        .parse()
        .expect("an id")
}

fn attempt_id(last: &str) -> AttemptId {
    format!("01900000-0000-7000-8000-00000000{last}")
        .parse()
        .expect("an id")
}

/// Work that 0.1.0 kept in memory has a row: the rollout that is not through, and the removed agent that left something.
async fn work_is_there(store: &Store) {
    let lease = std::time::Duration::from_secs(30);
    let claims = store
        .work_claim(&["rollout", "remains"], UnixMicros(0), lease, 10)
        .await;
    let claims = claims.expect("claims");
    let found: Vec<_> = claims
        .iter()
        .map(|claim| (claim.kind.as_str(), claim.key.as_str()))
        .collect();
    let wanted = [
        ("remains", "01900000-0000-7000-8000-00000000b003"),
        ("rollout", "01900000-0000-7000-8000-00000000c001"),
    ];
    assert_eq!(found, wanted);
    for claim in claims {
        store.work_done(claim).await.expect("done");
    }
}

async fn everything_is_there(store: &Store) {
    work_is_there(store).await;
    let instance = store.setting_get("instance").await.expect("a read");
    assert_eq!(instance.as_deref(), Some(&[1, 2][..]));
    let (_, ann) = store.session_get(&[0xaa]).await.expect("a read").expect("a session");
    assert_eq!((ann.name.as_str(), ann.role), ("ann", Role::Admin));
    let agents = store.agent_list().await.expect("agents");
    let seen: Vec<_> = agents
        .iter()
        .map(|agent| (agent.name.as_str(), agent.last_seen_at))
        .collect();
    assert_eq!(seen, [("new", None), ("web-1", Some(UnixMicros(7)))]);
    assert_eq!((agents[1].session_epoch, agents[1].connections.len()), (3, 1));
    assert_eq!(store.audit_list(None, 10).await.expect("rows").len(), 1);

    let task = task_id("c001");
    let executions = store.execution_list(task, None, 100).await.expect("executions");
    let states: Vec<_> = executions.iter().map(|execution| execution.state).collect();
    assert_eq!(states, ExecutionState::ALL);
    // Open work is picked up, and a watcher that was at revision 20 misses nothing.
    let running = executions
        .iter()
        .find(|e| e.state == ExecutionState::Running)
        .expect("one");
    let handed_over = store.execution_handed_over(running.agent_id).await.expect("work");
    assert_eq!(handed_over, std::slice::from_ref(running));
    let queued = executions
        .iter()
        .find(|e| e.state == ExecutionState::Queued)
        .expect("one");
    let waiting = store.execution_waiting(queued.agent_id, 10).await.expect("work");
    assert_eq!(waiting, std::slice::from_ref(queued));
    assert_eq!(
        store
            .execution_expired(UnixMicros(50), None, 10)
            .await
            .expect("expired")
            .len(),
        2
    );
    assert_eq!(
        store.execution_changes(task, 20, 100).await.expect("changes").len(),
        executions.len() - 1
    );
    let newest = executions
        .iter()
        .map(|execution| execution.revision)
        .max()
        .expect("some");
    let now = applied(store, dispatch(queued)).await;
    assert_eq!(now.revision, newest + 1);
    store
        .task_request_cancel(task_id("c002"), &[], audit("x"))
        .await
        .expect("a task without executions");

    let attempts = [attempt_id("d001"), attempt_id("d002")];
    assert_eq!(store.chunk_next_seq(&attempts).await.expect("positions"), [10, 2]);
    let small = store
        .chunk_read(attempts[1], ChunkStart::Seq(0), 100)
        .await
        .expect("output");
    assert_eq!(small[0].payload.as_ref(), [0xbe, 0xef]);
    let found = store.execution_by_attempt(attempts[0]).await.expect("a read");
    assert_eq!(found.map(|execution| execution.state), Some(ExecutionState::Running));
}

#[tokio::test]
async fn a_data_folder_of_0_1_0_is_carried_forward() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str| {
        let url = format!("sqlite://{}?mode=rwc", folder.path().join(name).display());
        async move { sea_orm::Database::connect(url).await.expect("a file") }
    };
    let (main, chunks) = (open("main.db").await, open("chunks.db").await);
    sql::schema_of_0_1_0(&main, &chunks).await.expect("the schema of 0.1.0");
    run(&main, &format!("{ROWS}{}{SMALL}", executions())).await;
    run(&chunks, LARGE).await;
    main.close().await.expect("an end");
    chunks.close().await.expect("an end");
    let url = format!("sqlite://{}", folder.path().display());
    let store = sql::SqlStore::open(&url, sql::Options::default()).await;
    everything_is_there(&store.expect("the folder opens")).await;
}

#[tokio::test]
async fn a_postgres_database_of_0_1_0_is_carried_forward() {
    let database = Database::create().await;
    let connection = database.connect().await;
    sql::schema_of_0_1_0(&connection, &connection)
        .await
        .expect("the schema of 0.1.0");
    run(&connection, &format!("{ROWS}{}{SMALL}{LARGE}", executions())).await;
    connection.close().await.expect("an end");
    let store = sql::SqlStore::open(&database.url, sql::Options::default()).await;
    everything_is_there(&store.expect("the database opens")).await;
    database.remove().await;
}
