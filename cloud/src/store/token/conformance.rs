//! What every engine promises.

use crate::store::{Error, conformance::*};

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

pub(in crate::store) async fn a_token_name_is_unique_among_the_living(store: Shared) {
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
        .token_list(None, 100)
        .await
        .expect("a list")
        .iter()
        .map(|token| token.secret_hash[0])
        .collect();
    assert_eq!(listed, [5, 3, 1], "newest first");
}

pub(in crate::store) async fn a_token_is_revoked_and_touched(store: Shared) {
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
