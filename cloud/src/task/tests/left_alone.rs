//! An execution whose changes the store does not take costs itself only: its agent keeps its link, and its queue goes on.

use std::{path::Path, time::Duration};

use ExecutionState as S;
use opslink::{
    id::{AgentId, TaskId},
    pb,
    pb::{AttemptPhase, ExecutionState as P},
    task::ExecutionState,
};

use super::bench::{Bench, caller, report, soon};
use crate::{
    store::{
        Store,
        sql::{Options, SqlStore, damage::run},
    },
    task::Config,
};

async fn open(folder: &Path) -> Store {
    let url = format!("sqlite://{}", folder.display());
    SqlStore::open(&url, Options::default()).await.unwrap()
}

/// Lets the executions of a task be read, and never written again.
async fn freeze(folder: &Path, task: &str) {
    let task: TaskId = task.parse().unwrap();
    let sql = format!("DELETE FROM revision WHERE task_id = X'{}'", task.uuid().simple());
    assert_eq!(run(folder, &sql).await, 1);
}

/// How often it was told that an execution is left alone.
async fn told(bench: &Bench) -> usize {
    let rows = bench.store.audit_list(None, 100).await.unwrap();
    rows.iter().filter(|row| row.action == "execution.left_alone").count()
}

async fn until_told(bench: &Bench, times: usize) {
    let reached = async {
        while told(bench).await < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the audit rows", reached).await;
}

/// Looks whether anything of this agent was forgotten, to the end.
async fn look(bench: &Bench, id: AgentId) {
    let submit = &bench.engine.submit;
    submit.commit.book.set_doubt(id);
    submit.dispatch.look_soon(id);
    let begun = async {
        while submit.commit.book.neglected().contains(&id) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("a look", begun).await;
    // A look keeps its permit until it is through.
    let all = u32::try_from(Config::default().concurrency).unwrap();
    let through = bench.engine.attach_gate().acquire_many_owned(all);
    drop(soon("the end of the look", through).await.unwrap());
}

#[tokio::test]
async fn an_agent_keeps_its_link_though_what_it_says_of_an_attempt_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Bench::over(store.clone(), Config::default()).await;
    let mut agent = former.joined("web").await;
    let mut tasks = Vec::new();
    let mut attempts = Vec::new();
    // The first is not answered, so its 'accepted' is a change for the next cloud; of the second its end is one.
    for is_answered in [false, true, true] {
        let task = former.create_on(&["web"]).await.task.unwrap().id;
        let attempt = agent.task().await;
        if is_answered {
            agent.accept(attempt).await;
            former.until(&task, &[P::Running]).await;
        }
        tasks.push(task);
        attempts.push(attempt);
    }
    let id = agent.id;
    drop(agent);
    former.until_offline(id).await;
    former.stop();
    for task in &tasks[..2] {
        freeze(folder.path(), task).await;
    }

    let bench = Bench::over(store, Config::default()).await;
    let reports = attempts
        .iter()
        .map(|attempt| report(*attempt, AttemptPhase::Running, 0));
    let mut agent = bench.attach(id, reports.collect()).await;
    for attempt in &attempts {
        agent.finish(*attempt, &["one\n"], S::Succeeded).await;
    }
    assert_eq!(agent.archived(attempts[2]).await, 2);
    bench.until(&tasks[2], &[P::Succeeded]).await;
    until_told(&bench, 2).await;
    look(&bench, id).await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    assert_eq!(agent.archived(attempt).await, 1, "the link is still the same");
    assert_eq!(told(&bench).await, 2, "each is told once");
    assert_eq!(bench.engine.links().arrivals(), 1);
}

#[tokio::test]
async fn a_queue_goes_on_behind_what_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let config = Config {
        slots_per_agent: 1,
        ..Config::default()
    };
    let bench = Bench::over(store, config).await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    let frozen = bench.create_on(&["web"]).await.task.unwrap().id;
    let next = bench.create_on(&["web"]).await.task.unwrap().id;
    for task in [&frozen, &next] {
        bench.until(task, &[P::Queued]).await;
    }
    freeze(folder.path(), &frozen).await;
    agent.finish(attempt, &[], S::Succeeded).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&next, &[P::Succeeded]).await;
    assert_eq!(bench.states(&frozen).await, [P::Queued]);
    assert_eq!(told(&bench).await, 1);
}

/// Lets them be written again.
async fn mend(folder: &Path, task: &str) {
    let task: TaskId = task.parse().unwrap();
    let id = task.uuid().simple();
    let sql = format!(
        "INSERT INTO revision (task_id, last) SELECT task_id, MAX(revision) FROM execution WHERE task_id = X'{id}'"
    );
    assert_eq!(run(folder, &sql).await, 1);
}

#[tokio::test]
async fn what_was_mended_and_is_retried_waits_for_its_turn_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let config = Config {
        slots_per_agent: 1,
        ..Config::default()
    };
    let bench = Bench::over(store, config).await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    let frozen = bench.create_on(&["web"]).await.task.unwrap().id;
    bench.until(&frozen, &[P::Queued]).await;
    freeze(folder.path(), &frozen).await;
    agent.finish(attempt, &[], S::Succeeded).await;
    until_told(&bench, 1).await;
    mend(folder.path(), &frozen).await;
    let request = pb::CancelTaskRequest {
        id: frozen.clone(),
        ..Default::default()
    };
    bench.engine.cancel(&caller(), request).await.unwrap();
    bench.until(&frozen, &[P::Canceled]).await;

    // The slot is taken, so that the retry has to wait.
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    let request = pb::RetryTaskRequest {
        id: frozen.clone(),
        ..Default::default()
    };
    bench.engine.retry(&caller(), request).await.unwrap();
    bench.until(&frozen, &[P::Queued]).await;
    agent.finish(attempt, &[], S::Succeeded).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&frozen, &[P::Succeeded]).await;
}
