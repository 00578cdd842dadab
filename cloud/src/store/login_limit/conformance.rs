//! What every engine promises.

use crate::store::conformance::*;

pub(in crate::store) async fn tries_are_counted_within_their_window(store: Shared) {
    let add = |key: &str, now: i64| store.login_limit_add(key.to_owned(), later(now), later(now + 60));
    assert_eq!(add("ann", 0).await.expect("a count"), 1);
    assert_eq!(
        add("ann", 59).await.expect("a count"),
        2,
        "the first try began the window"
    );
    assert_eq!(add("bob", 0).await.expect("a count"), 1);
    assert_eq!(add("ann", 60).await.expect("a count"), 1, "a later window begins anew");
    assert_eq!(add("ann", 59).await.expect("a count"), 2, "a late try counts in it");
    let row = store.login_limit_get("ann").await.expect("a read").expect("a row");
    assert_eq!((row.count, row.window, row.lease_until), (2, later(60), later(120)));
    assert_eq!(
        store
            .login_limit_remove_expired(later(60), 10)
            .await
            .expect("a removal"),
        1
    );
    assert_eq!(store.login_limit_get("bob").await.expect("a read"), None);
    store.login_limit_remove("ann".to_owned()).await.expect("a removal");
    assert_eq!(store.login_limit_get("ann").await.expect("a read"), None);
}

pub(in crate::store) async fn of_racing_tries_none_is_lost(store: Shared) {
    let race = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.login_limit_add("ann".to_owned(), NOW, later(60)).await })
    });
    let counts = futures::future::try_join_all(race).await.expect("no panic");
    let mut counts: Vec<u32> = counts.into_iter().map(|count| count.expect("a count")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());
}
