//! What every engine promises.

use crate::store::{Error, conformance::*};

pub(in crate::store) async fn a_user_name_is_unique(store: Shared) {
    assert_eq!(store.user_count().await.expect("a count"), 0);
    let ann = user("ann");
    store
        .user_insert(ann.clone(), audit("user.create"))
        .await
        .expect("a user");
    let again = store.user_insert(user("ann"), audit("user.create")).await;
    assert!(
        matches!(again, Err(Error::Exists { what: "user", ref name }) if name == "ann"),
        "{again:?}"
    );
    assert_eq!(store.user_by_name("ann").await.expect("a read"), Some(ann.clone()));
    assert_eq!(store.user_get(ann.id).await.expect("a read"), Some(ann));
    assert_eq!(store.user_by_name("a\0nn").await.expect("an answer"), None);
    assert_eq!(store.user_by_name("Ann").await.expect("a read"), None);
    assert_eq!(store.user_count().await.expect("a count"), 1);
    assert_eq!(audited(&store, "user.create").await, 1);
}
