//! Work that must happen: rows in the store, claimed with a lease, carried out, and done with.
//!
//! A row is written in the transaction that makes it necessary, so a process may die at any moment: whoever comes next
//! claims what is left. One loop a kind, so that no kind waits for another; woken by signal and by a timer. What cannot
//! be done however often it is tried is parked: told once, and in nobody's way.
//!
//! Each kind is a file of its own, beside what it works at: those of tasks are in [`crate::task`], what is kept for a time
//! only is removed by [`crate::retention`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use opslink::time::UnixMicros;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::store::{
    self, Store,
    record::{Audit, Claim, NewWork},
};

/// How long a claim keeps others away; what takes longer is claimed anew in time. It may be claimed by somebody else all
/// the same, when the store was away meanwhile, which must do no harm.
const LEASE: Duration = Duration::from_secs(60);
/// Rows of one kind that are worked at, at the same time.
const AT_ONCE: usize = 8;
/// First pause after a failure that may pass; doubled with each try, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worked {
    /// There is nothing more to do.
    Done,
    /// To be looked at again after this time.
    Again(Duration),
}

/// One kind of work. Idempotent: it may be stopped anywhere, and done twice.
#[async_trait]
pub(crate) trait Worker: Send + Sync + 'static {
    /// Name of the kind, in the rows.
    fn kind(&self) -> &'static str;

    /// Keys of rows that are there from the start of every cloud on; none for most kinds.
    fn standing(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Does what the row with this key stands for.
    ///
    /// # Errors
    /// What may pass is tried again; everything else parks the row.
    async fn work(&self, key: &str) -> store::Result<Worked>;
}

/// A row of this kind, due at this time.
pub(crate) fn row(kind: &str, key: impl ToString, due_at: UnixMicros) -> NewWork {
    NewWork {
        kind: kind.to_owned(),
        key: key.to_string(),
        due_at,
    }
}

/// Works at one kind until it is dropped. Looks when told to and every so often.
pub(crate) async fn run(store: Store, worker: Arc<dyn Worker>, told: Arc<Notify>, every: Duration) {
    while let Err(error) = begin(&store, &*worker).await {
        tracing::warn!(kind = worker.kind(), %error, "work waits for the store");
        sleep(PAUSE).await;
    }
    let kinds = [worker.kind()];
    let mut at_work = FuturesUnordered::new();
    loop {
        // What is claimed is begun: a lease is not spent on waiting, and what takes long holds one place only.
        let room = AT_ONCE - at_work.len();
        let claims = store
            .work_claim(&kinds, UnixMicros::now(), LEASE, u32::try_from(room).unwrap_or(1))
            .await;
        let claims = claims.unwrap_or_else(|error| {
            tracing::warn!(kind = worker.kind(), %error, "work waits for the store");
            Vec::new()
        });
        let there_may_be_more = claims.len() == room;
        at_work.extend(claims.into_iter().map(|claim| settle(&store, &*worker, claim)));
        tokio::select! {
            biased;
            Some(()) = at_work.next() => {
                // Whatever else is done by now makes room in one look.
                while let Some(Some(())) = at_work.next().now_or_never() {}
            }
            // Told meanwhile: then it returns at once.
            _ = timeout(every, told.notified()), if !there_may_be_more => {}
        }
    }
}

/// What a process that is gone had claimed is due again: one cloud has the lock of the database, and this is it. Several
/// clouds on one database would let go only what a dead one claimed.
async fn begin(store: &Store, worker: &dyn Worker) -> store::Result<()> {
    let now = UnixMicros::now();
    store.work_let_go(worker.kind().to_owned(), now).await?;
    let rows: Vec<_> = worker
        .standing()
        .into_iter()
        .map(|key| row(worker.kind(), key, now))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    store.work_add(rows).await
}

/// Does the work of one claim, and says so in its row: again and again while the store is away, for otherwise the work
/// stands still until the lease ends.
async fn settle(store: &Store, worker: &dyn Worker, mut claim: Claim) {
    let (kind, key) = (worker.kind(), claim.key.clone());
    let mut work = worker.work(&key);
    let worked = loop {
        match timeout(LEASE / 3, &mut work).await {
            Ok(worked) => break worked,
            Err(_) => {
                let until = UnixMicros::now().plus(LEASE);
                match store.work_keep(claim.clone(), until).await {
                    Ok(()) => claim.lease_until = until,
                    Err(error) => tracing::warn!(kind, key, %error, "a lease of work was not prolonged"),
                }
            }
        }
    };
    if let Err(error) = &worked
        && error.may_pass()
    {
        tracing::warn!(kind, key = claim.key, %error, "work waits for the store");
    }
    while let Err(error) = tell(store, &claim, &worked).await {
        tracing::warn!(kind, key = claim.key, %error, "a row of work was not updated");
        if !error.may_pass() || UnixMicros::now() >= claim.lease_until {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Says in its row what became of the work. Twice is as good as once: what counts is the newest claim.
async fn tell(store: &Store, claim: &Claim, worked: &store::Result<Worked>) -> store::Result<()> {
    let now = UnixMicros::now();
    match worked {
        Ok(Worked::Done) => store.work_done(claim.clone()).await,
        Ok(Worked::Again(after)) => store.work_rest(claim.clone(), now.plus(*after)).await,
        Err(error) if error.may_pass() => store.work_again(claim.clone(), now.plus(pause(claim.tries))).await,
        Err(error) => park(store, claim.clone(), error).await,
    }
}

async fn park(store: &Store, claim: Claim, error: &store::Error) -> store::Result<()> {
    tracing::error!(kind = claim.kind, key = claim.key, %error, "work is parked: it cannot be done");
    let resource = format!("{}/{}", claim.kind, claim.key);
    let audit = Audit::system("work.park", resource, error.to_string());
    let reason = error.to_string();
    store
        .write((claim, reason, audit), |tx, (claim, reason, audit)| {
            Box::pin(async move {
                tx.work_park(claim, reason).await?;
                tx.audit_insert(audit).await
            })
        })
        .await
}

fn pause(tries: u32) -> Duration {
    PAUSE.saturating_mul(1 << tries.min(10)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::store::memory::MemoryStore;

    /// Never ends what is called `huge`.
    #[derive(Default)]
    struct Huge {
        begun: Mutex<Vec<String>>,
        one_more: Notify,
    }

    #[async_trait]
    impl Worker for Huge {
        fn kind(&self) -> &'static str {
            "test"
        }

        async fn work(&self, key: &str) -> store::Result<Worked> {
            self.begun.lock().unwrap().push(key.to_owned());
            self.one_more.notify_one();
            if key == "huge" {
                std::future::pending::<()>().await;
            }
            Ok(Worked::Done)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_for_ever_delays_nothing_that_comes_later_and_is_not_begun_twice() {
        let store = Store::from(MemoryStore::new());
        let (worker, told) = (Arc::new(Huge::default()), Arc::new(Notify::new()));
        let every = Duration::from_secs(10);
        let running = tokio::spawn(run(store.clone(), worker.clone(), told.clone(), every));
        let add = async |key: &str| {
            let rows = vec![row("test", key, UnixMicros(1))];
            store.work_add(rows).await.unwrap();
            told.notify_one();
            timeout(Duration::from_secs(60), worker.one_more.notified())
                .await
                .expect("it is begun");
        };
        add("huge").await;
        add("small").await;
        sleep(10 * LEASE).await;
        add("later").await;
        assert_eq!(*worker.begun.lock().unwrap(), ["huge", "small", "later"]);
        running.abort();
    }

    /// Does well so many times, and never again.
    struct Tires(AtomicU32);

    #[async_trait]
    impl Worker for Tires {
        fn kind(&self) -> &'static str {
            "test"
        }

        async fn work(&self, _: &str) -> store::Result<Worked> {
            let less = |left: u32| left.checked_sub(1);
            let well = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            well.map(|_| Worked::Again(Duration::ZERO))
                .map_err(|_| store::Error::unavailable("it is away"))
        }
    }

    #[tokio::test]
    async fn what_went_well_for_long_is_tried_again_soon_after_its_first_failure() {
        let store = Store::from(MemoryStore::new());
        store.work_add(vec![row("test", "all", UnixMicros(1))]).await.unwrap();
        let worker = Arc::new(Tires(AtomicU32::new(20)));
        let running = tokio::spawn(run(store.clone(), worker, Arc::default(), Duration::from_millis(1)));
        let kinds = ["test".to_owned()];
        let put_off = async {
            loop {
                // While it is claimed this is the end of its lease, which is as far away as the longest pause.
                let next = store.work_next(&kinds).await.unwrap().unwrap();
                let pause = next.since(UnixMicros::now());
                if pause > Duration::ZERO && pause <= 2 * PAUSE {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), put_off).await.expect("a short pause");
        running.abort();
    }
}
