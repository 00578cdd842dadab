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

/// Begins one with the password that the user has.
async fn begin(store: &Shared, user: &User, secret: u8) {
    let begun = store.session_insert(
        session(user, secret),
        user.password_hash.clone(),
        audit("session.start"),
    );
    assert!(begun.await.expect("a session"));
}

pub(in crate::store) async fn a_session_begins_with_the_password_of_the_moment_only(store: Shared) {
    let ann = user("ann");
    store
        .user_insert(ann.clone(), audit("user.create"))
        .await
        .expect("a user");
    store
        .user_set_password(ann.id, "new", None, audit("user.password"))
        .await
        .expect("a new password");
    for (secret, hash, begins) in [(1, ann.password_hash.as_str(), false), (2, "new", true)] {
        let one = session(&ann, secret);
        let begun = store.session_insert(one.clone(), hash.to_owned(), audit("session.start"));
        assert_eq!(begun.await.expect("an answer"), begins, "{hash}");
        let found = store.session_get(&one.secret_hash).await.expect("a read");
        assert_eq!(found.is_some(), begins, "{hash}");
    }
    assert_eq!(
        audited(&store, "session.start").await,
        1,
        "what did not begin is not told"
    );
}

pub(in crate::store) async fn of_a_login_that_races_a_new_password_no_session_is_left(store: Shared) {
    let ann = user("ann");
    store
        .user_insert(ann.clone(), audit("user.create"))
        .await
        .expect("a user");
    let mut hash = ann.password_hash.clone();
    for round in 0..40 {
        let new = format!("hash-{round}");
        let one = session(&ann, round);
        let (begun, changed) = tokio::join!(
            store.session_insert(one.clone(), hash, audit("session.start")),
            store.user_set_password(ann.id, &new, None, audit("user.password"))
        );
        begun.expect("an answer");
        changed.expect("a new password");
        // Whichever came first: the change ends what was there, and what comes after it shows the old one.
        let found = store.session_get(&one.secret_hash).await.expect("a read");
        assert_eq!(found, None, "round {round}");
        hash = new;
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
    for (user, secret) in [(&ann, 1), (&ann, 2), (&bob, 3)] {
        begin(&store, user, secret).await;
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
    begin(&store, &ann, 1).await;
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
    let nobody = user("nobody");
    let orphan = store
        .session_insert(session(&nobody, 2), nobody.password_hash, audit("session.start"))
        .await;
    assert!(
        matches!(orphan, Err(Error::NotFound { what: "user", .. })),
        "{orphan:?}"
    );
}
