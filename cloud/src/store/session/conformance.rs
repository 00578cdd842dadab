//! What every engine promises.

use crate::store::{Error, conformance::*};

fn session(user: &User, secret: u8) -> Session {
    Session {
        secret_hash: vec![secret; 32],
        user_id: user.id,
        created_at: NOW,
        expires_at: later(60),
    }
}

pub(in crate::store) async fn a_new_password_ends_every_session_but_the_kept_one(store: Shared) {
    let (ann, bob) = (user("ann"), user("bob"));
    for user in [&ann, &bob] {
        store
            .user_insert(user.clone(), audit("user.create"))
            .await
            .expect("a user");
    }
    for session in [session(&ann, 1), session(&ann, 2), session(&bob, 3)] {
        store
            .session_insert(session, audit("session.start"))
            .await
            .expect("a session");
    }
    store
        .user_set_password(ann.id, "new", Some(&[2; 32]), audit("user.password"))
        .await
        .expect("a new password");
    let now = store.user_get(ann.id).await.expect("a read").expect("ann");
    assert_eq!((now.password_hash.as_str(), now.must_change_password), ("new", false));
    let alive = |secret: u8| {
        let store = &store;
        async move { store.session_get(&[secret; 32]).await.expect("a read").is_some() }
    };
    assert_eq!([alive(1).await, alive(2).await, alive(3).await], [false, true, true]);
    store
        .user_set_password(ann.id, "newer", None, audit("user.password"))
        .await
        .expect("a new password");
    assert!(!alive(2).await);
    let missing = store
        .user_set_password(UserId::new(), "x", None, audit("user.password"))
        .await;
    assert!(
        matches!(missing, Err(Error::NotFound { what: "user", .. })),
        "{missing:?}"
    );
    assert_eq!(audited(&store, "user.password").await, 2);
}

pub(in crate::store) async fn a_session_is_found_with_its_user_until_it_is_removed(store: Shared) {
    let ann = user("ann");
    store
        .user_insert(ann.clone(), audit("user.create"))
        .await
        .expect("a user");
    let one = session(&ann, 1);
    store
        .session_insert(one.clone(), audit("session.start"))
        .await
        .expect("a session");
    assert_eq!(
        store.session_get(&one.secret_hash).await.expect("a read"),
        Some((one.clone(), ann))
    );
    store
        .session_remove(&one.secret_hash, audit("session.end"))
        .await
        .expect("an end");
    assert_eq!(store.session_get(&one.secret_hash).await.expect("a read"), None);
    store
        .session_remove(&one.secret_hash, audit("session.end"))
        .await
        .expect("ending twice is no error");
    assert_eq!(audited(&store, "session.end").await, 1);
    let orphan = store
        .session_insert(session(&user("nobody"), 2), audit("session.start"))
        .await;
    assert!(
        matches!(orphan, Err(Error::NotFound { what: "user", .. })),
        "{orphan:?}"
    );
}
