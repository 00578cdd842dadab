//! Rows that somebody damaged, and rows that an older version wrote: whoever asks for many gets what can be read.

use super::{
    sql::damage::{DAMAGES, damage, run},
    *,
};
use crate::store::Error;

async fn open(folder: &std::path::Path) -> Shared {
    let url = format!("sqlite://{}", folder.display());
    let store = sql::SqlStore::open(&url, sql::Options::default()).await;
    store.expect("a new data folder opens")
}

/// Stores a task with one execution in this state.
async fn one(store: &Shared, agent: AgentId, state: ExecutionState) -> Execution {
    let task = new_task();
    let execution = Execution {
        agent_id: agent,
        state,
        ..queued(&task, "web-1")
    };
    let created = store
        .task_create(task, vec![execution.clone()], audit("task.create"))
        .await;
    assert_eq!(created.expect("a task"), TaskCreated::New);
    execution
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_execution_hides_no_other_of_its_agent_or_of_the_fleet() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    for what in DAMAGES {
        let agent = AgentId::new();
        let (bad, good) = (
            one(&store, agent, ExecutionState::Queued).await,
            one(&store, agent, ExecutionState::Queued).await,
        );
        let mut handed_over = Vec::new();
        for _ in 0..2 {
            let waiting = one(&store, agent, ExecutionState::Queued).await;
            handed_over.push(applied(&store, dispatch(&waiting)).await);
        }
        damage(folder.path(), &bad, what).await;
        damage(folder.path(), &handed_over[0], what).await;
        let tasks = |found: crate::store::Result<Vec<Execution>>| -> Vec<TaskId> {
            let mut found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            // Those of the other rounds are damaged too.
            found.retain(|execution| execution.agent_id == agent);
            found.iter().map(|execution| execution.task_id).collect()
        };
        let (good, running) = (good.task_id, handed_over[1].task_id);
        for limit in [1, 10] {
            assert_eq!(tasks(store.execution_waiting(agent, limit).await), [good], "{what}");
        }
        assert_eq!(tasks(store.execution_handed_over(agent).await), [running], "{what}");
        let open = tasks(store.execution_open_page(agent, None, 10).await);
        assert_eq!(open, [good, running], "{what}");
        let first = tasks(store.execution_open_page(agent, None, 1).await);
        assert_eq!(first, [good], "{what}");
        let rest = tasks(store.execution_open_page(agent, Some(good), 1).await);
        assert_eq!(rest, [running], "{what}");
        let (soon, all) = (later(61), 1_000);
        assert_eq!(tasks(store.execution_expired(soon, None, all).await), [good], "{what}");
        assert_eq!(tasks(store.execution_stale(soon, None, all).await), [running], "{what}");
        assert_eq!(
            tasks(store.execution_silent(soon, None, all).await),
            [running],
            "{what}"
        );
        let last = Some((agent, running));
        assert!(tasks(store.execution_stale(soon, last, all).await).is_empty(), "{what}");
        assert!(
            tasks(store.execution_silent(soon, last, all).await).is_empty(),
            "{what}"
        );
        // Whoever asks for this very one is told that it will not help to ask again.
        let attempt = handed_over[0].attempt_id.expect("an attempt");
        let error = store
            .execution_by_attempts(&[attempt])
            .await
            .expect_err("it is damaged");
        assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_execution_hides_no_other_of_its_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    for what in DAMAGES {
        let task = new_task();
        let held = ["a", "b"].map(|name| Execution {
            state: ExecutionState::Held,
            queue_deadline: None,
            ..queued(&task, name)
        });
        let created = store
            .task_create(task.clone(), held.to_vec(), audit("task.create"))
            .await;
        assert_eq!(created.expect("a task"), TaskCreated::New);
        damage(folder.path(), &held[0], what).await;
        for found in [
            store.execution_held(task.id, 1).await,
            store.execution_held(task.id, 10).await,
            store.execution_open_of_task(task.id).await,
        ] {
            let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            let agents: Vec<_> = found.iter().map(|execution| execution.agent_id).collect();
            assert_eq!(agents, [held[1].agent_id], "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_audit_rows_that_are_there_already_are_cut_on_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    // A million characters.
    let long = "hex(zeroblob(500000))";
    let sql = format!(
        "INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) \
         VALUES (1, 'ann', 'admin', 'task.read_output', {long}, {long}, '')"
    );
    for _ in 0..3 {
        assert_eq!(run(folder.path(), &sql).await, 1);
    }
    let rows = store.audit_list(None, 10).await.expect("rows");
    assert_eq!(rows.len(), 3, "all of them fit one answer");
    for row in rows {
        assert_eq!((row.resource.len(), row.detail.len()), (512, 4_096));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_will_never_take_is_told_as_such_and_its_neighbour_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let agent = AgentId::new();
    let bad = one(&store, agent, ExecutionState::Queued).await;
    let good = one(&store, agent, ExecutionState::Queued).await;
    let task = bad.task_id.uuid().simple();
    let sql = format!("DELETE FROM revision WHERE task_id = X'{task}'");
    assert_eq!(run(folder.path(), &sql).await, 1);
    let both = vec![dispatch(&bad), dispatch(&good)];
    let error = store.execution_apply(both, None).await.expect_err("no revision");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(!error.may_pass(), "it is not tried for ever");
    applied(&store, dispatch(&good)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_hides_no_other_of_a_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    for what in DAMAGES {
        let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
        let mut ended = Vec::new();
        for execution in &executions {
            let running = applied(&store, dispatch(execution)).await;
            ended.push(applied(&store, end(&running, ExecutionState::Failed)).await);
        }
        damage(folder.path(), &ended[0], what).await;
        let names = |found: crate::store::Result<Vec<Execution>>| -> Vec<String> {
            let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            found.into_iter().map(|execution| execution.agent_name).collect()
        };
        assert_eq!(
            names(store.execution_list(task.id, None, 10).await),
            ["b", "c"],
            "{what}"
        );
        // What is left out takes nobody's place: less than was asked for means that there is no more.
        assert_eq!(
            names(store.execution_list(task.id, None, 2).await),
            ["b", "c"],
            "{what}"
        );
        assert_eq!(
            names(store.execution_list(task.id, Some("b"), 2).await),
            ["c"],
            "{what}"
        );
        assert_eq!(names(store.execution_changes(task.id, 0, 1).await), ["b"], "{what}");
        let counts = store.execution_counts(&[task.id]).await.expect("counts");
        assert_eq!(counts[&task.id].states[&ExecutionState::Failed], 3, "{what}");
        assert_eq!(counts[&task.id].last_end, Some(later(2)), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_of_another_version_hides_no_count_and_no_attempt() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let (task, executions) = stored_task(&store, &["a", "b"]).await;
    let mut dispatched = Vec::new();
    for execution in &executions {
        dispatched.push(applied(&store, dispatch(execution)).await);
    }
    damage(folder.path(), &dispatched[0], "state = 'paused'").await;
    let attempt = dispatched[0].attempt_id.expect("an attempt").uuid().simple();
    let sql = format!("UPDATE attempt SET state = 'paused' WHERE id = X'{attempt}'");
    assert_eq!(run(folder.path(), &sql).await, 1);
    let counts = store.execution_counts(&[task.id]).await.expect("counts");
    assert_eq!(counts[&task.id].states, [(ExecutionState::Dispatched, 1)].into());
    let attempts = store.attempt_list(task.id).await.expect("attempts");
    let agents: Vec<_> = attempts.iter().map(|attempt| attempt.agent_id).collect();
    assert_eq!(agents, [dispatched[1].agent_id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_task_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    for what in ["max_parallel = -1", "created_at = 'soon'", "max_failures = -1"] {
        let (bad, _) = stored_task(&store, &["a"]).await;
        let (good, _) = stored_task(&store, &["a"]).await;
        let id = bad.id.uuid().simple();
        let sql = format!("UPDATE task SET {what} WHERE id = X'{id}'");
        assert_eq!(run(folder.path(), &sql).await, 1, "{sql}");
        let bodies = store.task_bodies(&[bad.id, good.id], 1_000_000).await;
        let bodies = bodies.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(bodies.into_keys().collect::<Vec<_>>(), [good.id], "{what}");
        let filter = TaskFilter {
            limit: 2,
            ..TaskFilter::default()
        };
        let listed = store.task_list(filter).await;
        let listed = listed.unwrap_or_else(|error| panic!("{what}: {error}"));
        let listed: Vec<_> = listed.iter().map(|task| task.id).collect();
        assert!(listed.contains(&good.id) && !listed.contains(&bad.id), "{what}");
        assert!(
            store.task_get(bad.id).await.is_err(),
            "{what}: it is told to whoever asks for it"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_agent_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let mut agents = Vec::new();
    for name in ["a", "b"] {
        let token = join_token("");
        let id = token.id;
        store.join_token_insert(token, audit("x")).await.expect("a token");
        let new = new_agent(name);
        agents.push(new.id);
        store.agent_join(id, &[7; 32], new, audit("x")).await.expect("a join");
    }
    for what in ["labels = 'x'", "connections = '{'", "session_epoch = -1"] {
        let id = agents[0].uuid().simple();
        let sql = format!("UPDATE agent SET labels = '{{}}', connections = '[]', session_epoch = 0 WHERE id = X'{id}'");
        assert_eq!(run(folder.path(), &sql).await, 1);
        assert_eq!(store.agent_list().await.expect("a list").len(), 2);
        let sql = format!("UPDATE agent SET {what} WHERE id = X'{id}'");
        assert_eq!(run(folder.path(), &sql).await, 1, "{sql}");
        let listed = store
            .agent_list()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let ids: Vec<_> = listed.iter().map(|agent| agent.id).collect();
        assert_eq!(ids, [agents[1]], "{what}");
    }
    let role = "UPDATE audit SET actor_role = 'owner' WHERE id = (SELECT max(id) FROM audit)";
    let all = store.audit_list(None, 1_000).await.expect("rows").len();
    assert_eq!(run(folder.path(), role).await, 1);
    assert_eq!(store.audit_list(None, 1_000).await.expect("rows").len(), all - 1);
    assert_eq!(
        store.audit_list(None, 1).await.expect("rows").len(),
        1,
        "the next one takes its place"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_work_is_set_aside_and_keeps_nobody_from_what_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    for what in [
        "tries = -1",
        "tries = 'x'",
        "adds = -1",
        "due_at = 'soon'",
        "name = X'ff'",
    ] {
        let work = |key: &str, seconds| NewWork {
            kind: "a".to_owned(),
            key: key.to_owned(),
            due_at: later(seconds),
        };
        let added = store.work_add(vec![work("bad", 0), work("good", 1)]).await;
        added.expect("work is added");
        let sql = format!("UPDATE work SET {what} WHERE name = 'bad'");
        assert_eq!(run(folder.path(), &sql).await, 1, "{sql}");
        let claim = async |limit| {
            let claims = store
                .work_claim(&["a"], later(2), std::time::Duration::from_secs(60), limit)
                .await;
            claims.unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let claims = claim(1).await;
        let keys: Vec<_> = claims.iter().map(|claim| claim.key.as_str()).collect();
        assert_eq!(keys, ["good"], "{what}");
        store.work_done(claims[0].clone()).await.expect("done");
        assert!(claim(10).await.is_empty(), "{what}: it is set aside");
        // Adding it again makes it whole again.
        store.work_add(vec![work("bad", 0)]).await.expect("work is added");
        let claims = claim(10).await;
        assert_eq!(claims.len(), 1, "{what}");
        assert_eq!(claims[0].key, "bad", "{what}");
        store.work_done(claims[0].clone()).await.expect("done");
    }
}
