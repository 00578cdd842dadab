//! Settings, users, sessions, API tokens, audit.

use super::*;
use crate::store::Error;

pub(super) async fn a_setting_keeps_its_first_value(store: Shared) {
    store.ping().await.expect("the database is there");
    assert_eq!(store.setting_get("key").await.expect("a read"), None);
    assert_eq!(store.setting_init("key", b"\0one").await.expect("a write"), b"\0one");
    assert_eq!(store.setting_init("key", b"two").await.expect("a write"), b"\0one");
    assert_eq!(
        store.setting_get("key").await.expect("a read").as_deref(),
        Some(&b"\0one"[..])
    );
}

pub(super) async fn of_racing_settings_one_value_is_kept(store: Shared) {
    let race = (0..20_u8).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.setting_init("key", &[number]).await.expect("a write") })
    });
    let seen = futures::future::try_join_all(race).await.expect("no panic");
    let kept = store.setting_get("key").await.expect("a read").expect("a value");
    assert!(seen.iter().all(|value| *value == kept), "{seen:?}");
}

pub(super) async fn a_user_name_is_unique(store: Shared) {
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
    assert_eq!(store.user_by_name("Ann").await.expect("a read"), None);
    assert_eq!(store.user_count().await.expect("a count"), 1);
    assert_eq!(audited(&store, "user.create").await, 1);
}

fn session(user: &User, secret: u8) -> Session {
    Session {
        secret_hash: vec![secret; 32],
        user_id: user.id,
        created_at: NOW,
        expires_at: later(60),
    }
}

pub(super) async fn a_new_password_ends_every_session_but_the_kept_one(store: Shared) {
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

pub(super) async fn a_session_is_found_with_its_user_until_it_is_removed(store: Shared) {
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

fn token(name: &str, secret: u8) -> Token {
    Token {
        id: TokenId::new(),
        name: name.to_owned(),
        secret_hash: vec![secret; 32],
        role: Role::Viewer,
        created_by: "ann".to_owned(),
        created_at: NOW,
        expires_at: later(60),
        last_used_at: None,
        revoked: false,
    }
}

pub(super) async fn a_token_name_is_unique_among_the_living(store: Shared) {
    let insert = |token: Token| {
        let store = &store;
        async move { store.token_insert(token, audit("token.create")).await }
    };
    let first = token("ci", 1);
    insert(first.clone()).await.expect("a token");
    assert!(matches!(insert(token("ci", 2)).await, Err(Error::Exists { .. })));
    store
        .token_revoke(first.id, audit("token.revoke"))
        .await
        .expect("a revocation");
    insert(token("ci", 3))
        .await
        .expect("the name of a revoked token is free");
    assert!(matches!(insert(token("ci", 4)).await, Err(Error::Exists { .. })));
    let after_its_end = Token {
        created_at: later(60),
        expires_at: later(120),
        ..token("ci", 5)
    };
    insert(after_its_end).await.expect("the name of an ended token is free");
    assert_eq!(audited(&store, "token.create").await, 3);
    let listed: Vec<_> = store
        .token_list()
        .await
        .expect("a list")
        .iter()
        .map(|token| token.secret_hash[0])
        .collect();
    assert_eq!(listed, [5, 3, 1], "newest first");
}

pub(super) async fn a_token_is_revoked_and_touched(store: Shared) {
    let ci = token("ci", 1);
    store
        .token_insert(ci.clone(), audit("token.create"))
        .await
        .expect("a token");
    assert_eq!(
        store.token_by_hash(&ci.secret_hash).await.expect("a read"),
        Some(ci.clone())
    );
    assert_eq!(store.token_by_hash(&[2; 32]).await.expect("a read"), None);
    store.token_touch(ci.id, later(20)).await.expect("a touch");
    store.token_touch(ci.id, later(10)).await.expect("a late touch");
    store
        .token_revoke(ci.id, audit("token.revoke"))
        .await
        .expect("a revocation");
    let now = store
        .token_by_hash(&ci.secret_hash)
        .await
        .expect("a read")
        .expect("revoked ones are found too");
    assert_eq!((now.revoked, now.last_used_at), (true, Some(later(20))));
    let missing = store.token_revoke(TokenId::new(), audit("token.revoke")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    assert_eq!(audited(&store, "token.revoke").await, 1);
}

pub(super) async fn a_failed_change_leaves_no_audit_row(store: Shared) {
    let agent = AgentId::new();
    assert!(matches!(
        store.agent_remove(agent, audit("a")).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        store.agent_set_labels(agent, [].into(), audit("a")).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        store.join_token_revoke(TokenId::new(), audit("a")).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        store.task_request_cancel(TaskId::new(), &[], audit("a")).await,
        Err(Error::NotFound { .. })
    ));
    let join = store
        .agent_join(TokenId::new(), &[0; 32], new_agent("x"), audit("a"))
        .await
        .expect("an answer");
    assert_eq!(join, JoinResult::TokenUnknown);
    assert_eq!(audited(&store, "a").await, 0);
}

pub(super) async fn audit_rows_come_newest_first_in_pages(store: Shared) {
    for action in ["one", "two", "three"] {
        store.audit_insert(audit(action)).await.expect("an audit row");
    }
    let page = store.audit_list(None, 2).await.expect("a page");
    assert_eq!(
        page.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(),
        ["three", "two"]
    );
    let rest = store.audit_list(Some(page[1].id), 2).await.expect("a page");
    let Audit {
        time,
        actor,
        actor_role,
        action,
        resource,
        detail,
        peer,
    } = audit("one");
    let wanted = AuditRow {
        id: rest[0].id,
        time,
        actor,
        actor_role,
        action: action.to_owned(),
        resource,
        detail,
        peer,
    };
    assert_eq!(rest, [wanted]);
}
