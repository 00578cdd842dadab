//! What only the memory engine promises: it fails and waits where it is told to, and goes back to what it was.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

use super::*;
use crate::store::{
    Error, Result,
    memory::{Faults, Point},
};

/// Fails once at each place that is named.
#[derive(Default)]
struct Failing(Mutex<Vec<Point>>);

#[async_trait::async_trait]
impl Faults for Failing {
    async fn at(&self, point: Point) -> Result<()> {
        let mut points = self.0.lock().expect("a list");
        match points.iter().position(|named| *named == point) {
            Some(place) => {
                points.remove(place);
                Err(match point {
                    Point::Read | Point::BeforeWrite => Error::unavailable("told to fail"),
                    Point::AfterCommit => Error::maybe_done("told to fail"),
                })
            }
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_fault_before_a_write_leaves_nothing_and_one_after_the_commit_leaves_it_done() {
    let failing = Arc::new(Failing::default());
    let store = Store::from(MemoryStore::with_faults(failing.clone()));
    let fail = |point| failing.0.lock().expect("a list").push(point);
    fail(Point::BeforeWrite);
    let answer = store.setting_init("key", b"one").await;
    assert!(
        matches!(answer, Err(Error::Unavailable { maybe_done: false, .. })),
        "{answer:?}"
    );
    assert_eq!(store.setting_get("key").await.expect("a read"), None);
    fail(Point::AfterCommit);
    let answer = store.setting_init("key", b"two").await;
    assert!(
        matches!(answer, Err(Error::Unavailable { maybe_done: true, .. })),
        "{answer:?}"
    );
    fail(Point::Read);
    store.setting_get("key").await.expect_err("told to fail");
    let now = store.setting_get("key").await.expect("a read");
    assert_eq!(now.as_deref(), Some(&b"two"[..]), "only the answer was lost");
}

/// Lets nobody write before it is opened.
struct Gate {
    open: Semaphore,
    waiting: AtomicBool,
}

#[async_trait::async_trait]
impl Faults for Gate {
    async fn at(&self, point: Point) -> Result<()> {
        if point == Point::BeforeWrite {
            self.waiting.store(true, Ordering::Release);
            let _permit = self.open.acquire().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let gate = Arc::new(Gate {
        open: Semaphore::new(0),
        waiting: AtomicBool::new(false),
    });
    let store = Store::from(MemoryStore::with_faults(gate.clone()));
    let mut write = Box::pin(store.setting_init("key", b"value"));
    while !gate.waiting.load(Ordering::Acquire) {
        assert!(futures::poll!(&mut write).is_pending());
        tokio::task::yield_now().await;
    }
    drop(write);
    gate.open.add_permits(1);
    let written = async {
        while store.setting_get("key").await.expect("a read").is_none() {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, written)
        .await
        .expect("it is written all the same");
}

#[tokio::test]
async fn a_snapshot_is_what_was_there_and_can_be_put_back() {
    let memory = MemoryStore::new();
    let store = Store::from(memory.clone());
    store.setting_init("before", b"1").await.expect("a write");
    let snapshot = memory.snapshot();
    store.setting_init("after", b"2").await.expect("a write");
    let (task, _) = stored_task(&store, &["a"]).await;
    memory.restore(snapshot);
    assert!(store.setting_get("before").await.expect("a read").is_some());
    assert_eq!(store.setting_get("after").await.expect("a read"), None);
    assert_eq!(store.task_get(task.id).await.expect("a read"), None);
    assert!(store.audit_list(None, 10).await.expect("rows").is_empty());
}

#[tokio::test]
async fn a_transaction_that_waits_for_something_else_is_refused() {
    let store = Store::from(MemoryStore::new());
    let answer = store
        .write((), |tx, ()| {
            Box::pin(async move {
                tx.setting_init(&"key".to_owned(), &b"1".to_vec()).await?;
                tokio::task::yield_now().await;
                Ok(())
            })
        })
        .await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert_eq!(store.setting_get("key").await.expect("a read"), None);
}

/// Cannot read one row.
#[derive(Default)]
struct Damaged {
    row: Mutex<Option<(TaskId, AgentId)>>,
    refused: AtomicUsize,
}

#[async_trait::async_trait]
impl Faults for Damaged {
    async fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }

    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        *self.row.lock().expect("a row")
    }

    fn refused_damaged(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_of_lists_and_refuses_whoever_wants_it() {
    let damaged = Arc::new(Damaged::default());
    let memory = MemoryStore::with_faults(damaged.clone());
    let store = Store::from(memory.clone());
    let (task, executions) = stored_task(&store, &["a", "b"]).await;
    let bad = applied(&store, dispatch(&executions[0])).await;
    let attempt = bad.attempt_id.expect("an attempt");
    let found = memory.find_execution(|of, execution| of.id == task.id && execution.agent_name == "a");
    assert_eq!(found, Some((task.id, bad.agent_id)));
    *damaged.row.lock().expect("a row") = found;

    let is_corrupt = |error: &Error| matches!(error, Error::Corrupt { .. });
    for limit in [1, 10] {
        let listed = store.execution_list(task.id, None, limit).await.expect("a list");
        let names: Vec<_> = listed.iter().map(|execution| execution.agent_name.as_str()).collect();
        assert_eq!(names, ["b"]);
    }
    let counts = store.execution_counts(&[task.id]).await.expect("counts");
    assert_eq!(counts[&task.id].states[&ExecutionState::Dispatched], 1, "it is counted");
    let one = store.execution_by_attempt(attempt).await;
    assert!(one.is_err_and(|error| is_corrupt(&error)));
    let many = store.execution_by_attempts(&[attempt]).await;
    assert!(many.is_err_and(|error| is_corrupt(&error)));
    let both = vec![end(&bad, ExecutionState::Failed), dispatch(&executions[1])];
    let written = store.execution_apply(both, None).await;
    assert!(written.is_err_and(|error| is_corrupt(&error)));
    assert_eq!(damaged.refused.load(Ordering::Relaxed), 3);
    // Nothing of that write was done, and its neighbour is taken alone.
    applied(&store, dispatch(&executions[1])).await;

    *damaged.row.lock().expect("a row") = None;
    let now = store.execution_by_attempt(attempt).await.expect("a read");
    assert_eq!(now, Some(bad), "as it was");
}
