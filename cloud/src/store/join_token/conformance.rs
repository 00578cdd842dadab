//! What every engine promises.

use crate::store::{Error, conformance::*};

fn asked(request_id: &str) -> JoinToken {
    JoinToken {
        request_id: Some(request_id.to_owned()),
        ..join_token("")
    }
}

pub(in crate::store) async fn a_request_makes_one_join_token(store: Shared) {
    let first = asked("r1");
    let insert = async |token: JoinToken| store.join_token_insert(token, audit("made")).await;
    insert(first.clone()).await.expect("the first");
    let again = insert(asked("r1")).await;
    assert!(
        matches!(&again, Err(Error::Exists { name, .. }) if *name == first.id.to_string()),
        "{again:?}"
    );
    let of_another = JoinToken {
        created_by: "bob".to_owned(),
        ..asked("r1")
    };
    insert(of_another).await.expect("ids are each maker's own");
    insert(asked("r2")).await.expect("another request");
    for _ in 0..2 {
        insert(join_token(""))
            .await
            .expect("without an id each request is a new one");
    }
    assert_eq!(store.join_token_list(None, 100).await.expect("a list").len(), 5);
    assert_eq!(audited(&store, "made").await, 5);
    let stored = store.join_token_get(first.id).await.expect("a read");
    assert_eq!(stored, Some(first), "it comes back as it was stored");
}

pub(in crate::store) async fn of_racing_requests_one_makes_a_join_token(store: Shared) {
    let race = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.join_token_insert(asked("r1"), audit("made")).await })
    });
    let answers = futures::future::try_join_all(race).await.expect("no panic");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let made = store.join_token_list(None, 100).await.expect("a list");
    let [made] = made.as_slice() else { panic!("{made:?}") };
    for answer in answers.into_iter().filter_map(Result::err) {
        assert!(
            matches!(&answer, Error::Exists { name, .. } if *name == made.id.to_string()),
            "{answer:?}"
        );
    }
}
