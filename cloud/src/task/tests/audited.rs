//! A change that was overtaken leaves its audit row when it is made.

use opslink::{id::TaskId, task::ExecutionState as S, time::UnixMicros};

use super::bench::{Bench, caller};
use crate::{
    store::record::Execution,
    task::{
        intent::Intent,
        machine::{CancelCause, Event},
    },
};

#[tokio::test]
async fn a_change_that_was_overtaken_is_audited_in_the_round_that_makes_it() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let created = bench.create_on(&["web"]).await;
    let task: TaskId = created.task.unwrap().id.parse().unwrap();
    let attempt = agent.task().await;
    let now_there = bench.store.execution_get(task, agent.id).await.unwrap().unwrap();
    assert_eq!((now_there.state, now_there.attempt_id), (S::Dispatched, Some(attempt)));
    // As it was before its dispatch, when the decision was made: the first round applies nothing.
    let seen = Execution {
        state: S::Queued,
        attempt_id: None,
        attempt_number: 0,
        ..now_there
    };
    let commit = &bench.engine.submit.commit;
    let info = commit.info(task).await.unwrap();
    let events = vec![(Event::Cancel(CancelCause::Requested), UnixMicros::now())];
    let audit = caller().audit("task.cancel", format!("task/{task}"), String::new());
    let intents = vec![Intent::new(seen, info, events)];
    let done = commit.apply(intents, Some(audit)).await.unwrap();
    assert!(done[0].cancel_requested && done[0].state == S::Dispatched, "{done:?}");
    let rows = bench.store.audit_list(None, 100).await.unwrap();
    let of_it = rows.iter().filter(|row| row.action == "task.cancel").count();
    assert_eq!(of_it, 1, "{rows:?}");
}
