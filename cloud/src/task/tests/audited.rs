//! A change that was overtaken, or whose answer was lost, leaves its audit row once, when it is made.

use std::{sync::atomic::Ordering, time::Duration};

use opslink::{id::TaskId, task::ExecutionState as S, time::UnixMicros};

use super::{
    bench::{Agent, Bench, caller},
    trouble::Trouble,
};
use crate::{
    store::record::{Audit, Execution},
    task::{
        Config,
        intent::Intent,
        machine::{CancelCause, Event},
    },
};

/// A wish for the end of an execution, decided upon when it was like this.
async fn wish(bench: &Bench, seen: Execution) -> Intent {
    let info = bench.engine.submit.commit.info(seen.task_id).await.unwrap();
    let events = vec![(Event::Cancel(CancelCause::Requested), UnixMicros::now())];
    Intent::new(seen, info, events)
}

/// An execution as it was before its dispatch: whoever decides upon it is overtaken.
fn before_its_dispatch(now_there: Execution) -> Execution {
    assert_eq!(now_there.state, S::Dispatched);
    Execution {
        state: S::Queued,
        attempt_id: None,
        attempt_number: 0,
        ..now_there
    }
}

/// Executions of a new task on these agents, which have it, in the order of their names.
async fn handed_over(bench: &Bench, names: &[&str]) -> (Vec<Agent>, Vec<Execution>) {
    let mut agents = Vec::new();
    for name in names {
        agents.push(bench.joined(name).await);
    }
    let created = bench.create_on(names).await;
    for agent in &mut agents {
        agent.task().await;
    }
    let task: TaskId = created.task.unwrap().id.parse().unwrap();
    let executions = bench.store.execution_list(task, None, 10).await.unwrap();
    (agents, executions)
}

fn audit() -> Audit {
    caller().audit("task.cancel", "task/1".to_owned(), String::new())
}

async fn audited(bench: &Bench) -> usize {
    let rows = bench.store.audit_list(None, 100).await.unwrap();
    rows.iter().filter(|row| row.action == "task.cancel").count()
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_audited_in_the_round_that_makes_it() {
    let bench = Bench::new().await;
    let (_agents, mut now_there) = handed_over(&bench, &["web"]).await;
    let intents = vec![wish(&bench, before_its_dispatch(now_there.remove(0))).await];
    let done = bench.engine.submit.commit.apply(intents, Some(audit())).await.unwrap();
    assert!(done[0].cancel_requested && done[0].state == S::Dispatched, "{done:?}");
    assert_eq!(audited(&bench).await, 1);
}

#[tokio::test]
async fn a_change_of_which_a_part_was_overtaken_is_audited_once() {
    let bench = Bench::new().await;
    let (_agents, mut now_there) = handed_over(&bench, &["a", "b"]).await;
    let overtaken = before_its_dispatch(now_there.remove(0));
    let intents = vec![wish(&bench, overtaken).await, wish(&bench, now_there.remove(0)).await];
    let done = bench.engine.submit.commit.apply(intents, Some(audit())).await.unwrap();
    assert!(done.iter().all(|execution| execution.cancel_requested), "{done:?}");
    assert_eq!(audited(&bench).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_overtaken_and_whose_answer_was_lost_then_is_audited_once() {
    let (trouble, store) = Trouble::new();
    // No timer commits anything meanwhile: the answers that come and get lost are those of the change.
    let bench = Bench::over(store, Config::default()).await;
    let (_agents, mut now_there) = handed_over(&bench, &["web"]).await;
    let seen = before_its_dispatch(now_there.remove(0));
    let commit = &bench.engine.submit.commit;
    // Whatever a start commits is committed by then, and the next timer is later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The round that changes nothing is answered, and the one that makes the change is not.
    trouble.spare.store(1, Ordering::SeqCst);
    trouble.lose.store(1, Ordering::SeqCst);
    let intents = vec![wish(&bench, seen.clone()).await];
    let error = commit.apply(intents, Some(audit())).await.unwrap_err();
    assert!(error.may_be_done(), "{error}");
    assert_eq!(audited(&bench).await, 1);
    // Whoever asked asks once more.
    let intents = vec![wish(&bench, seen).await];
    let done = commit.apply(intents, Some(audit())).await.unwrap();
    assert!(done[0].cancel_requested && done[0].state == S::Dispatched, "{done:?}");
    assert_eq!(audited(&bench).await, 1);
}
