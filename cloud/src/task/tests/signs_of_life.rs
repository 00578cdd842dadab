//! Signs of life cost the narrow rows that are there for them, and nothing else of an agent.

use std::collections::BTreeMap;

use super::bench::{Bench, audit};
use crate::{
    store::{
        record::Agent,
        sql::{Options, SqlStore, damage::run},
    },
    task::{Config, presence::Written},
};

/// From here on nobody writes a row of this table.
async fn close(folder: &std::path::Path, table: &str) {
    for change in ["INSERT", "UPDATE", "DELETE"] {
        let trigger = format!(
            "CREATE TRIGGER closed_{table}_{change} BEFORE {change} ON {table} \
             BEGIN SELECT RAISE(ABORT, 'a row of {table} is written'); END"
        );
        run(folder, &trigger).await;
    }
}

#[tokio::test]
async fn signs_of_life_write_no_row_of_an_agent_and_take_no_revision() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().display());
    let store = SqlStore::open(&url, Options::default()).await.unwrap();
    let bench = Bench::over(store.clone(), Config::default()).await;
    let (one, two) = (bench.joined("one").await, bench.joined("two").await);
    let mut before = Vec::new();
    for agent in [&one, &two] {
        let stored = store.agent_get(agent.id).await.unwrap().unwrap();
        let presence = store.presence_get(agent.id).await.unwrap().unwrap();
        before.push((stored, presence));
    }
    for table in ["agent", "revision", "audit"] {
        close(folder.path(), table).await;
    }
    let mut written = Written::default();
    let presence = &bench.engine.submit.presence;
    presence
        .write_signs_of_life(&store, &bench.directory, &mut written)
        .await;
    assert_eq!(written.times.len(), 2, "the store took them");
    for (stored, presence) in before {
        let now = store.presence_get(stored.id).await.unwrap().unwrap();
        assert!(now.lease_until > presence.lease_until, "they were written");
        assert_eq!(
            (now.epoch, now.last_seen),
            (presence.epoch, written.times[&stored.id].max(presence.last_seen))
        );
        let last_seen_at = Some(now.last_seen);
        let stored = Agent { last_seen_at, ..stored };
        assert_eq!(store.agent_get(stored.id).await.unwrap(), Some(stored));
    }
    // What writes such a row is noticed.
    let labels = store.agent_set_labels(one.id, BTreeMap::new(), audit()).await;
    assert!(labels.is_err(), "{labels:?}");
}

/// One of them was never taken, and then nobody's was, and nobody who was gone was ever given up.
#[tokio::test]
async fn a_sign_of_life_that_is_never_taken_keeps_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().display());
    let store = SqlStore::open(&url, Options::default()).await.unwrap();
    let bench = Bench::over(store.clone(), Config::default()).await;
    let (broken, well) = (bench.joined("broken").await, bench.joined("well").await);
    let before = store.presence_get(well.id).await.unwrap().unwrap();
    let trigger = format!(
        "CREATE TRIGGER refused BEFORE UPDATE ON presence WHEN NEW.agent_id = X'{}' \
         BEGIN SELECT RAISE(ABORT, 'this row is not written'); END",
        broken.id.uuid().simple()
    );
    run(folder.path(), &trigger).await;
    let presence = &bench.engine.submit.presence;
    presence.reachable().backdate();
    let mut written = Written::default();
    presence
        .write_signs_of_life(&store, &bench.directory, &mut written)
        .await;
    let now = store.presence_get(well.id).await.unwrap().unwrap();
    assert!(now.lease_until > before.lease_until, "it was written");
    assert!(presence.reachable().all_could_come());
}

/// It was told as taken, so that whom the store does not let in was soon given up for it.
#[tokio::test]
async fn signs_of_life_of_which_none_is_taken_count_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().display());
    let store = SqlStore::open(&url, Options::default()).await.unwrap();
    let bench = Bench::over(store.clone(), Config::default()).await;
    let (one, _two) = (bench.joined("one").await, bench.joined("two").await);
    close(folder.path(), "presence").await;
    let presence = &bench.engine.submit.presence;
    for _ in 0..10 {
        presence
            .write_signs_of_life(&store, &bench.directory, &mut Written::default())
            .await;
        presence.reachable().not_let_in(one.id);
    }
    presence.reachable().backdate();
    presence.reachable().not_let_in(one.id);
    assert!(!presence.reachable().all_could_come(), "it is the store, not the agent");
}
