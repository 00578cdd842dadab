//! What it takes to find what does not end by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{id::AgentId, time::UnixMicros};
use tokio::time::sleep;

use super::{
    asks_little::Counter,
    bench::{Bench, audit, soon},
    records,
};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
        record::{Execution, Task},
    },
    task::{
        Config,
        expiry::{Expiry, Patience, ToldOnce},
        reachable::Reachable,
    },
    work::Worker,
};

/// A cloud that looks when the test says so.
async fn still(store: Store) -> Bench {
    let config = Config {
        reconcile_every: Duration::from_secs(24 * 3_600),
        ..Config::default()
    };
    Bench::over(store, config).await
}

/// The looks of a cloud to which every agent could come.
fn expiry(bench: &Bench, every: Duration) -> Expiry {
    let Config {
        answer_within,
        lost_after,
        ..
    } = Config::default();
    Expiry {
        commit: bench.engine.submit.commit.clone(),
        directory: bench.directory.clone(),
        presence: bench.engine.submit.presence.clone(),
        every,
        reachable: Reachable::new(Duration::ZERO),
        answer_within: Patience::of(answer_within),
        lost_after: Patience::of(lost_after),
        told: ToldOnce::default(),
    }
}

/// Waits until the cloud has looked by itself, as it does when it begins.
async fn until_looked(looks: impl Fn() -> usize) {
    let looked = async {
        while looks() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the first look", looked).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_be_away_for_days_is_not_looked_for_every_ten_seconds() {
    let (counter, store) = Counter::new();
    let bench = still(store).await;
    let every = Duration::from_secs(10);
    let expiry = expiry(&bench, every);
    until_looked(|| counter.calls("execution_expired")).await;
    counter.begin_anew();
    // For an hour.
    for _ in 0..360 {
        expiry.work("all").await.unwrap();
        sleep(every).await;
    }
    assert_eq!(counter.calls("execution_expired"), 360);
    // 15 minutes, so each 45 s at most.
    let stale = counter.calls("execution_stale");
    assert!((60..=80).contains(&stale), "{stale} times");
    // Seven days, so each eight hours.
    assert_eq!(counter.calls("execution_silent"), 1);
}

/// Takes no change once it is broken, and counts what is read of what waited too long.
#[derive(Default)]
struct Broken {
    is_broken: AtomicBool,
    calls: AtomicUsize,
    rows: AtomicUsize,
}

#[async_trait]
impl Faults for Broken {
    async fn at(&self, point: Point) -> Result<()> {
        if point == Point::BeforeWrite && self.is_broken.load(Ordering::SeqCst) {
            return Err(Error::Corrupt {
                what: "execution",
                message: "the store does not take it".to_owned(),
            });
        }
        Ok(())
    }

    fn answered(&self, read: &'static str, rows: usize) {
        if read == "execution_expired" {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.rows.fetch_add(rows, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_ended_hides_nobody_behind_it_however_much_there_is() {
    const ALL: usize = 2_500;
    let broken = Arc::new(Broken::default());
    let store = Store::from(MemoryStore::with_faults(broken.clone()));
    let bench = still(store.clone()).await;
    let task = Task {
        created_at: UnixMicros(1),
        ..records::task()
    };
    let waiting = |number: usize| Execution {
        // Few deadlines, as a wide task has them.
        queue_deadline: Some(UnixMicros(1 + i64::from(number.is_multiple_of(2)))),
        ..records::waiting(task.id, AgentId::new(), format!("agent-{number:04}"))
    };
    let executions = (0..ALL).map(waiting).collect();
    // The cloud's own look finds nothing, and the next is tomorrow.
    until_looked(|| broken.calls.load(Ordering::SeqCst)).await;
    store.task_create(task, executions, audit()).await.unwrap();
    broken.is_broken.store(true, Ordering::SeqCst);
    broken.calls.store(0, Ordering::SeqCst);
    expiry(&bench, Duration::from_secs(10)).work("all").await.unwrap();
    let (calls, rows) = (broken.calls.load(Ordering::SeqCst), broken.rows.load(Ordering::SeqCst));
    assert_eq!((calls, rows), (3, ALL), "each is read once, and tried once");
}
