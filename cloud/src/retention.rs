//! What is kept for a time only, and removed when it is over: one row of work per table, so that a table that cannot be
//! cleaned waits, or is parked, alone.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use opslink::time::UnixMicros;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    store::{self, Store},
    work::{self, Worked, Worker},
};

/// Between two looks at a table.
const EVERY: Duration = Duration::from_secs(3_600);
/// Between two looks for rows that are due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Rows that are removed in one transaction, and the pause between two of them: nobody waits for it.
const REMOVED_AT_ONCE: u32 = 1_000;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a join token that has ended can still be looked up.
const JOIN_TOKENS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Removes what was over at a time, so many rows at most; says how many.
type Remove = fn(&Store, UnixMicros, u32) -> BoxFuture<'_, store::Result<u64>>;

/// A table whose rows have an end.
struct Table {
    name: &'static str,
    /// How long a row stays after its end.
    kept: Duration,
    remove: Remove,
}

/// All of them.
const TABLES: [Table; 4] = [
    Table {
        name: "session",
        kept: Duration::ZERO,
        remove: |store, now, limit| Box::pin(store.session_remove_expired(now, limit)),
    },
    Table {
        name: "quarantine",
        kept: Duration::ZERO,
        remove: |store, now, limit| Box::pin(store.quarantine_remove_expired(now, limit)),
    },
    Table {
        name: "login_limit",
        kept: Duration::ZERO,
        remove: |store, now, limit| Box::pin(store.login_limit_remove_expired(now, limit)),
    },
    Table {
        name: "join_token",
        kept: JOIN_TOKENS_KEPT,
        remove: |store, now, limit| Box::pin(store.join_token_remove_expired(now, limit)),
    },
];

/// Cleans tables.
struct Retention {
    store: Store,
    tables: Vec<Table>,
}

#[async_trait]
impl Worker for Retention {
    fn kind(&self) -> &'static str {
        "retention"
    }

    fn standing(&self) -> Vec<&'static str> {
        self.tables.iter().map(|table| table.name).collect()
    }

    async fn work(&self, key: &str) -> store::Result<Worked> {
        let Some(table) = self.tables.iter().find(|table| table.name == key) else {
            // One of a version that had more of them.
            return Ok(Worked::Done);
        };
        while (table.remove)(&self.store, UnixMicros::now().minus(table.kept), REMOVED_AT_ONCE).await?
            >= u64::from(REMOVED_AT_ONCE)
        {
            sleep(PAUSE).await;
        }
        Ok(Worked::Again(EVERY))
    }
}

/// Removes what is over until `stop` is called.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    let tables = TABLES.into();
    let worker = Arc::new(Retention {
        store: store.clone(),
        tables,
    });
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work::run(store, worker, Arc::default(), LOOK_EVERY) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use opslink::id::{AgentId, TokenId};
    use tokio::time::timeout;

    use super::*;
    use crate::store::{
        memory::MemoryStore,
        record::{Audit, JoinToken, Quarantine},
    };

    fn audit() -> Audit {
        Audit::system("test", String::new(), String::new())
    }

    async fn until(what: &str, condition: impl AsyncFn() -> bool) {
        let reached = async {
            while !condition().await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), reached).await.expect(what);
    }

    /// A quarantine that is over.
    async fn over(store: &Store) -> Quarantine {
        let over = Quarantine {
            until: UnixMicros(1),
            ..Quarantine::of_copies(AgentId::new(), UnixMicros(0))
        };
        store.quarantine_put(over.clone(), audit()).await.unwrap();
        over
    }

    /// It is there, whether over or not.
    async fn is_there(store: &Store, row: &Quarantine) -> bool {
        let found = store.quarantine_get(row.agent_id, UnixMicros(0)).await.unwrap();
        found.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_cannot_be_cleaned_is_parked_alone() {
        let store = Store::from(MemoryStore::new());
        let row = over(&store).await;
        let broken = Table {
            name: "broken",
            kept: Duration::ZERO,
            remove: |_, _, _| {
                let unreadable: store::Result<u64> = Err(store::Error::Corrupt {
                    what: "row",
                    message: "this version does not know it".to_owned(),
                });
                Box::pin(async move { unreadable })
            },
        };
        let worker = Arc::new(Retention {
            store: store.clone(),
            tables: std::iter::once(broken).chain(TABLES).collect(),
        });
        let running = tokio::spawn(work::run(store.clone(), worker, Arc::default(), LOOK_EVERY));
        until("the quarantine is removed", async || !is_there(&store, &row).await).await;
        until("the other table is parked", async || {
            let rows = store.audit_list(None, 10).await.unwrap();
            let parked: Vec<_> = rows.iter().filter(|row| row.action == "work.park").collect();
            assert!(parked.len() <= 1, "{parked:?}");
            parked.iter().any(|row| row.resource == "retention/broken")
        })
        .await;
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_while_the_cloud_runs_is_removed_and_what_has_not_ended_stays() {
        let store = Store::from(MemoryStore::new());
        let token = |days: u64| JoinToken {
            id: TokenId::new(),
            secret_hash: vec![1],
            labels: BTreeMap::new(),
            agent_name: String::new(),
            created_by: "ann".into(),
            created_at: UnixMicros(0),
            expires_at: UnixMicros::now().minus(Duration::from_secs(days * 24 * 3_600)),
            used: None,
            revoked: false,
            request_id: None,
        };
        let (kept, old) = (token(29), token(31));
        for token in [&kept, &old] {
            store.join_token_insert(token.clone(), audit()).await.unwrap();
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(store.clone(), stop.clone()));
        let there = async |token: &JoinToken| store.join_token_get(token.id).await.unwrap().is_some();
        until("the old token is removed", async || !there(&old).await).await;
        assert!(there(&kept).await);
        stop.cancel();
        running.await.unwrap();
    }
}
