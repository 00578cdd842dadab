//! A damaged row costs itself only: what else there is ends, and its agent comes back.

use std::time::Duration;

use ExecutionState as S;
use opslink::{
    id::{AttemptId, TaskId},
    pb,
    pb::{AttemptPhase, ExecutionState as P},
    task::ExecutionState,
    time::UnixMicros,
};

use super::bench::{Agent, Bench, audit, on, report, soon};
use crate::{
    store::{
        record::{Execution, Task},
        sql::{
            Options, SqlStore,
            damage::{DAMAGES, damage},
        },
    },
    task::{Config, rollout::LOOK_EVERY},
};

/// A task that runs on the agent.
async fn running(bench: &Bench, agent: &mut Agent) -> (String, AttemptId) {
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
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
        let (_, broken) = running(&former, &mut agent).await;
        let (task, healthy) = running(&former, &mut agent).await;
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
