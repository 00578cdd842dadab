//! What every engine promises.

use crate::store::conformance::*;

pub(in crate::store) async fn a_setting_keeps_its_first_value(store: Shared) {
    store.ping().await.expect("the database is there");
    assert_eq!(store.setting_get("key").await.expect("a read"), None);
    assert_eq!(store.setting_init("key", b"\0one").await.expect("a write"), b"\0one");
    assert_eq!(store.setting_init("key", b"two").await.expect("a write"), b"\0one");
    assert_eq!(
        store.setting_get("key").await.expect("a read").as_deref(),
        Some(&b"\0one"[..])
    );
}

pub(in crate::store) async fn of_racing_settings_one_value_is_kept(store: Shared) {
    let race = (0..20_u8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.setting_init("key", &[number]).await.expect("a write") })
    });
    let seen = futures::future::try_join_all(race).await.expect("no panic");
    let kept = store.setting_get("key").await.expect("a read").expect("a value");
    assert!(seen.iter().all(|value| *value == kept), "{seen:?}");
}
