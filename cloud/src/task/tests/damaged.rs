//! A damaged row costs itself only: what else there is ends, and its agent comes back.

use std::{path::Path, time::Duration};

use ExecutionState as S;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    pb::{AttemptPhase, ExecutionState as P},
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    bench::{Agent, Bench, audit, on, report, soon},
    big_scripts::{in_ten_minutes, queue_scripts},
    trouble::{quick, store_queued},
};
use crate::{
    agents::Directory,
    status::agents_problem,
    store::{
        Error, Store,
        record::{Execution, Task},
        sql::{
            Options, SqlStore,
            damage::{DAMAGES, ENTRIES, ROWS, damage, run, zero_page_of, zero_pages_with},
        },
    },
    task::{Config, rollout::LOOK_EVERY},
};

async fn open(folder: &Path) -> Store {
    let url = format!("sqlite://{}", folder.display());
    SqlStore::open(&url, Options::default()).await.unwrap()
}

/// Stops a cloud, and waits until nothing of it has its data folder.
async fn close(bench: Bench, store: Store, folder: &Path) {
    bench.stop();
    drop(store);
    let lock = std::fs::File::open(folder.join("lock")).unwrap();
    let closed = async {
        while lock.try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the end of the cloud", closed).await;
}

/// A task that runs on the agent of this name.
async fn running(bench: &Bench, agent: &mut Agent, name: &str) -> (String, AttemptId) {
    let task = bench.create_on(&[name]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    (task, attempt)
}

#[tokio::test]
async fn a_damaged_execution_neither_stops_expiry_nor_locks_its_agent_out() {
    for what in DAMAGES {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().display());
        let store = SqlStore::open(&url, Options::default()).await.unwrap();
        let former = Bench::over(store.clone(), Config::default()).await;
        let mut agent = former.joined("web").await;
        let (_, broken) = running(&former, &mut agent, "web").await;
        let (task, healthy) = running(&former, &mut agent, "web").await;
        let id = agent.id;
        drop(agent);
        former.until_offline(id).await;
        former.stop();

        let row = store.execution_by_attempt(broken).await.unwrap().unwrap();
        damage(folder.path(), &row, what).await;
        let like = store.task_get(row.task_id).await.unwrap().unwrap();
        let [bad, good] = [too_late(&like, &row), too_late(&like, &row)];
        for (task, execution) in [&bad, &good] {
            let executions = vec![execution.clone()];
            store.task_create(task.clone(), executions, audit()).await.unwrap();
        }
        damage(folder.path(), &bad.1, what).await;

        let config = Config {
            reconcile_every: Duration::from_millis(20),
            ..Config::default()
        };
        let bench = Bench::over(store, config).await;
        bench.until(&good.0.id.to_string(), &[P::Expired]).await;
        let reports = [broken, healthy].map(|attempt| report(attempt, AttemptPhase::Running, 0));
        let mut agent = bench.attach(id, reports.to_vec()).await;
        // Nobody knows what is to become of it, so it goes on.
        let mut wanted = agent.welcome.attempts.iter();
        assert!(wanted.all(|wanted| !wanted.archived && !wanted.cancel), "{what}");
        // What it says is left alone, and the link lives on.
        agent.finish(broken, &["one\n", "two\n"], S::Succeeded).await;
        agent.finish(healthy, &["one\n"], S::Succeeded).await;
        assert_eq!(agent.archived(healthy).await, 2, "{what}");
        bench.until(&task, &[P::Succeeded]).await;
        bench.stop();
    }
}

#[tokio::test]
async fn a_damaged_execution_that_is_held_neither_stops_its_rollout_nor_keeps_it_busy() {
    for what in DAMAGES {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().display());
        let store = SqlStore::open(&url, Options::default()).await.unwrap();
        let bench = Bench::over(store.clone(), Config::default()).await;
        let mut agents = Vec::new();
        for name in ["a", "b", "c"] {
            agents.push(bench.joined(name).await);
        }
        let request = pb::CreateTaskRequest {
            rollout: Some(pb::Rollout {
                max_parallel: 1,
                max_failures: 0,
            }),
            ..on(&["a", "b", "c"])
        };
        let task = bench.create(request).await.unwrap().task.unwrap().id;
        let task: TaskId = task.parse().unwrap();
        // The first in the order in which they are started.
        let held = store.execution_held(task, 10).await.unwrap();
        damage(folder.path(), &held[0], what).await;
        for agent in agents.iter_mut().filter(|agent| agent.id != held[0].agent_id) {
            let attempt = agent.task().await;
            agent.finish(attempt, &[], S::Succeeded).await;
            assert_eq!(agent.archived(attempt).await, 1, "{what}");
        }
        // Its row is claimed for longer than that, as long as it is worked at.
        let rests = async {
            let kinds = ["rollout".to_owned()];
            loop {
                let (next, now) = (store.work_next(&kinds).await.unwrap(), UnixMicros::now());
                if next.is_some_and(|next| next > now && next <= now.plus(LOOK_EVERY)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("the rollout to rest", rests).await;
        bench.stop();
    }
}

/// Lets agents work: a new task of each comes to its end.
async fn all_work(bench: &Bench, agents: &mut [(&str, Agent)]) {
    for (name, agent) in agents {
        let task = bench.create_on(&[*name]).await.task.unwrap().id;
        let attempt = agent.task().await;
        agent.finish(attempt, &["one\n", "two\n"], S::Succeeded).await;
        assert_eq!(agent.archived(attempt).await, 3, "{name}");
        bench.until(&task, &[P::Succeeded]).await;
    }
}

/// What one agent says meets a page that the disk does not give back. What others say does not wait for it.
#[tokio::test]
async fn a_page_of_attempts_that_cannot_be_read_costs_nobody_who_is_not_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    let (mut a, mut b) = (former.joined("a").await, former.joined("b").await);
    let (hit, broken) = running(&former, &mut a, "a").await;
    // Some pages of others, so that the next one lies elsewhere.
    let others = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
                  INSERT INTO attempt SELECT randomblob(16), task_id, agent_id, number, state, created_at, \
                  finished_at, outcome FROM attempt, n";
    assert_eq!(run(folder.path(), others).await, 200);
    let (task, healthy) = running(&former, &mut b, "b").await;
    let ids = (a.id, b.id);
    drop((a, b));
    close(former, store, folder.path()).await;
    let id = broken.uuid();
    assert!(zero_pages_with(folder.path(), ROWS, &[id.as_bytes()]).await >= 1);

    let bench = Bench::over(open(folder.path()).await, quick()).await;
    let a = bench
        .attach(ids.0, vec![report(broken, AttemptPhase::Running, 0)])
        .await;
    let mut b = bench
        .attach(ids.1, vec![report(healthy, AttemptPhase::Running, 0)])
        .await;
    a.finish(broken, &["one\n", "two\n"], S::Succeeded).await;
    let told = async || {
        let rows = bench.store.audit_list(None, 100).await.unwrap();
        rows.iter()
            .any(|row| row.action == "execution.left_alone" && row.resource == format!("task/{hit}"))
    };
    let left_alone = async {
        while !told().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the word about the one that is left alone", left_alone).await;
    b.finish(healthy, &["one\n"], S::Succeeded).await;
    assert_eq!(b.archived(healthy).await, 2);
    bench.until(&task, &[P::Succeeded]).await;
    all_work(&bench, &mut [("a", a), ("b", b)]).await;
}

/// Nobody can say what an agent has whose executions cannot be read: it is not let in. Everybody else is, and what is over
/// ends.
#[tokio::test]
async fn a_page_of_executions_that_cannot_be_read_stops_neither_the_fleet_nor_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    let (mut a, mut b) = (former.joined("alone").await, former.joined("b").await);
    let (_, broken) = running(&former, &mut a, "alone").await;
    // Some pages of others, so that the next one lies elsewhere.
    let away = former.join("away").await;
    queue_scripts(&store, away, in_ten_minutes(), (200, 1)).await;
    let (task, healthy) = running(&former, &mut b, "b").await;
    let ids = (a.id, b.id);
    drop((a, b));
    close(former, store, folder.path()).await;
    // Only an execution has the name of its agent too.
    let id = broken.uuid();
    assert!(zero_pages_with(folder.path(), ENTRIES, &[id.as_bytes(), b"alone"]).await >= 1);

    let bench = Bench::over(open(folder.path()).await, quick()).await;
    let reports = vec![report(broken, AttemptPhase::Running, 0)];
    assert!(Agent::attach(&bench.engine, ids.0, reports).await.is_err());
    let b = bench
        .attach(ids.1, vec![report(healthy, AttemptPhase::Running, 0)])
        .await;
    b.finish(healthy, &["one\n"], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    all_work(&bench, &mut [("b", b)]).await;
    // Each waits for a look that begins after the one before it.
    for _ in 0..3 {
        let over = store_queued(&bench, away, Some(UnixMicros(1))).await;
        bench.until(&over, &[P::Expired]).await;
    }
}

/// One whose time to start is over, and lies on a page that the disk does not give back, stands in nobody's way.
#[tokio::test]
async fn an_overdue_execution_that_cannot_be_read_keeps_nobody_else_from_expiring() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), quick()).await;
    let mut ids = Vec::new();
    for (name, tasks) in [("a", 1), ("others", 200), ("b", 1)] {
        let id = former.join(name).await;
        // The pages of the others lie between the two.
        queue_scripts(&store, id, in_ten_minutes(), (tasks, 1)).await;
        ids.push(id);
    }
    let (a, b) = (ids[0], ids[2]);
    let broken = store.execution_waiting(a, 1).await.unwrap()[0].task_id;
    let good = store.execution_waiting(b, 1).await.unwrap()[0].task_id.to_string();
    close(former, store, folder.path()).await;
    let overdue = |id: AgentId, name: &str| {
        let id = id.uuid().simple();
        format!("UPDATE execution SET queue_deadline = 1, agent_name = '{name}' WHERE agent_id = X'{id}'")
    };
    assert_eq!(run(folder.path(), &overdue(a, "alone")).await, 1);
    assert_eq!(run(folder.path(), &overdue(b, "b")).await, 1);
    // Only the execution itself has its name and its state.
    let id = broken.uuid();
    let needles: [&[u8]; 3] = [id.as_bytes(), b"alone", b"queued"];
    assert!(zero_pages_with(folder.path(), ENTRIES, &needles).await >= 1);

    let store = open(folder.path()).await;
    let error = store.execution_expired(UnixMicros::now(), None, 10).await.unwrap_err();
    assert!(!error.may_pass(), "{error}");
    let bench = Bench::over(store, quick()).await;
    bench.until(&good, &[P::Expired]).await;
}

#[tokio::test]
async fn an_execution_of_a_lost_agent_that_cannot_be_read_keeps_no_other_from_being_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    let (mut a, mut b) = (former.joined("alone").await, former.joined("b").await);
    let (_, broken) = running(&former, &mut a, "alone").await;
    let away = former.join("away").await;
    queue_scripts(&store, away, in_ten_minutes(), (200, 1)).await;
    let (task, _) = running(&former, &mut b, "b").await;
    drop((a, b));
    close(former, store, folder.path()).await;
    let id = broken.uuid();
    assert!(zero_pages_with(folder.path(), ENTRIES, &[id.as_bytes(), b"alone"]).await >= 1);

    let store = open(folder.path()).await;
    let error = store.execution_silent(UnixMicros::now(), None, 10).await.unwrap_err();
    assert!(!error.may_pass(), "{error}");
    let config = Config {
        reconcile_every: Duration::from_millis(20),
        lost_after: Duration::ZERO,
        ..Config::default()
    };
    let bench = Bench::over(store, config).await;
    assert_eq!(bench.states(&task).await, [P::Running], "agents may still come");
    bench.engine.submit.presence.reachable().backdate();
    bench.until(&task, &[P::Lost]).await;
}

#[tokio::test]
async fn a_cloud_that_cannot_read_when_agents_were_seen_starts_and_gives_none_of_them_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    let mut a = former.joined("a").await;
    let (task, _) = running(&former, &mut a, "a").await;
    let id = a.id;
    drop(a);
    close(former, store, folder.path()).await;
    zero_page_of(folder.path(), "presence").await;

    let store = open(folder.path()).await;
    let error = store.agent_list().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let before = UnixMicros::now();
    let config = Config {
        lost_after: Duration::from_secs(60),
        ..quick()
    };
    let bench = Bench::over(store, config).await;
    let seen = bench.directory.get(id).unwrap().last_seen_at;
    assert!(seen >= Some(before), "it was seen at the start");
    // Each waits for a look that begins after the one before it.
    for _ in 0..3 {
        let over = store_queued(&bench, id, Some(UnixMicros(1))).await;
        bench.until(&over, &[P::Expired]).await;
    }
    assert_eq!(bench.states(&task).await, [P::Running]);
    // Away for so long since then, it is given up like any other.
    bench.directory.backdate(id, Duration::from_secs(61));
    bench.until(&task, &[P::Lost]).await;
}

#[tokio::test]
async fn a_cloud_that_cannot_read_its_agents_says_that_its_database_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    former.join("a").await;
    close(former, store, folder.path()).await;
    zero_page_of(folder.path(), "agent").await;

    let store = open(folder.path()).await;
    let problem = Directory::load(store).await.map_err(agents_problem).unwrap_err();
    assert_eq!(problem.reason, Reason::DatabaseCorrupt);
}

/// A task whose time in the queue is over, for an agent that is not here.
fn too_late(like: &Task, execution: &Execution) -> (Task, Execution) {
    let task = Task {
        id: TaskId::new(),
        ..like.clone()
    };
    let execution = Execution {
        task_id: task.id,
        state: S::Queued,
        attempt_id: None,
        attempt_number: 0,
        queue_deadline: Some(UnixMicros(1)),
        started_at: None,
        ..execution.clone()
    };
    (task, execution)
}
