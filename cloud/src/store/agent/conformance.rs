//! What every engine promises.

use crate::store::{Error, conformance::*};

const SECRET: [u8; 32] = [7; 32];

async fn stored_token(store: &Shared, agent_name: &str) -> JoinToken {
    let token = join_token(agent_name);
    store
        .join_token_insert(token.clone(), audit("join_token.create"))
        .await
        .expect("a join token");
    token
}

pub(in crate::store) async fn joined(store: &Shared, name: &str) -> Agent {
    let token = stored_token(store, name).await;
    match store
        .agent_join(token.id, &SECRET, new_agent("unused"), audit("agent.join"))
        .await
        .expect("an answer")
    {
        JoinResult::Joined(agent) => agent,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) async fn a_join_consumes_the_token_and_stores_the_agent(store: Shared) {
    let token = stored_token(&store, "").await;
    let new = new_agent("web-1");
    let result = store
        .agent_join(token.id, &SECRET, new.clone(), audit("agent.join"))
        .await
        .expect("an answer");
    let JoinResult::Joined(agent) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        (agent.id, agent.name.as_str(), &agent.labels),
        (new.id, "web-1", &token.labels)
    );
    assert_eq!(
        (agent.session_epoch, agent.last_seen_at, agent.removed),
        (0, None, false)
    );
    assert_eq!(store.agent_get(new.id).await.expect("a read"), Some(agent));
    let listed = store.join_token_list(None, 100).await.expect("a list");
    assert_eq!(
        listed,
        [JoinToken {
            used: Some((new.enrolled_at, new.id)),
            ..token
        }]
    );
    assert_eq!(audited(&store, "agent.join").await, 1);
    assert_eq!(joined(&store, "named-by-token").await.name, "named-by-token");
}

pub(in crate::store) async fn a_token_that_cannot_be_used_says_why(store: Shared) {
    let (good, expired, revoked) = (
        stored_token(&store, "").await,
        stored_token(&store, "").await,
        stored_token(&store, "").await,
    );
    let join = |token: TokenId, secret: u8, time: UnixMicros, name: &'static str| {
        let store = &store;
        let agent = NewAgent {
            enrolled_at: time,
            ..new_agent(name)
        };
        async move {
            store
                .agent_join(token, &[secret; 32], agent, audit("agent.join"))
                .await
                .expect("an answer")
        }
    };
    store
        .join_token_revoke(revoked.id, audit("join_token.revoke"))
        .await
        .expect("a revocation");
    assert_eq!(join(TokenId::new(), 7, later(1), "a").await, JoinResult::TokenUnknown);
    assert_eq!(join(good.id, 8, later(1), "a").await, JoinResult::TokenUnknown);
    assert_eq!(join(expired.id, 7, later(3_600), "a").await, JoinResult::TokenExpired);
    assert_eq!(join(revoked.id, 7, later(1), "a").await, JoinResult::TokenRevoked);
    assert!(matches!(join(good.id, 7, later(1), "a").await, JoinResult::Joined(_)));
    assert_eq!(join(good.id, 7, later(2), "b").await, JoinResult::TokenUsed);
    assert_eq!(audited(&store, "agent.join").await, 1);
    assert_eq!(store.agent_list().await.expect("a list").len(), 1);
}

pub(in crate::store) async fn a_taken_name_leaves_the_token_unconsumed(store: Shared) {
    joined(&store, "web-1").await;
    let token = stored_token(&store, "").await;
    let taken = store
        .agent_join(token.id, &SECRET, new_agent("web-1"), audit("x"))
        .await
        .expect("an answer");
    assert_eq!(taken, JoinResult::NameTaken("web-1".to_owned()));
    let listed = store.join_token_list(None, 100).await.expect("a list");
    assert!(
        listed
            .iter()
            .any(|listed| listed.id == token.id && listed.used.is_none())
    );
    assert_eq!(audited(&store, "x").await, 0);
    let free = store
        .agent_join(token.id, &SECRET, new_agent("web-2"), audit("x"))
        .await
        .expect("an answer");
    assert!(matches!(free, JoinResult::Joined(_)), "{free:?}");
}

pub(in crate::store) async fn of_a_hundred_racing_joins_one_wins(store: Shared) {
    let token = stored_token(&store, "").await;
    let race = (0..100).map(|number| {
        let (store, agent) = (store.clone(), new_agent(&format!("agent-{number}")));
        tokio::spawn(async move {
            store
                .agent_join(token.id, &SECRET, agent, audit("agent.join"))
                .await
                .expect("an answer")
        })
    });
    let results = futures::future::try_join_all(race).await.expect("no panic");
    let won = results
        .iter()
        .filter(|result| matches!(result, JoinResult::Joined(_)))
        .count();
    let lost = results
        .iter()
        .filter(|result| **result == JoinResult::TokenUsed)
        .count();
    assert_eq!((won, lost), (1, 99), "{results:?}");
    assert_eq!(store.agent_list().await.expect("a list").len(), 1);
    assert_eq!(audited(&store, "agent.join").await, 1);
}

pub(in crate::store) async fn of_racing_joins_for_one_name_one_wins(store: Shared) {
    let mut race = Vec::new();
    for _ in 0..20 {
        let (token, store) = (stored_token(&store, "db-1").await, store.clone());
        let join = async move {
            store
                .agent_join(token.id, &SECRET, new_agent("x"), audit("agent.join"))
                .await
        };
        race.push(tokio::spawn(join));
    }
    let results = futures::future::try_join_all(race).await.expect("no panic");
    let taken = |result: &&Result<_, _>| matches!(result, Ok(JoinResult::NameTaken(_)));
    assert_eq!(results.iter().filter(taken).count(), 19, "{results:?}");
    let unused = store
        .join_token_list(None, 100)
        .await
        .expect("a list")
        .into_iter()
        .filter(|token| token.used.is_none());
    assert_eq!(unused.count(), 19);
}

pub(in crate::store) async fn a_removed_agent_frees_its_name(store: Shared) {
    let (zoe, amy) = (joined(&store, "zoe").await, joined(&store, "Amy").await);
    let named = async |name: &str| store.agent_by_name(name).await.expect("a read").map(|agent| agent.id);
    assert_eq!((named("zoe").await, named("Zoe").await), (Some(zoe.id), None));
    let names = |agents: Vec<Agent>| agents.into_iter().map(|agent| agent.name).collect::<Vec<_>>();
    assert_eq!(names(store.agent_list().await.expect("a list")), ["Amy", "zoe"]);
    store
        .agent_remove(zoe.id, audit("agent.remove"))
        .await
        .expect("a removal");
    assert!(matches!(
        store.agent_remove(zoe.id, audit("agent.remove")).await,
        Err(Error::NotFound { .. })
    ));
    assert_eq!(names(store.agent_list().await.expect("a list")), ["Amy"]);
    assert!(
        store
            .agent_get(zoe.id)
            .await
            .expect("a read")
            .expect("removed ones are found")
            .removed
    );
    assert_eq!(named("zoe").await, None);
    let later_zoe = joined(&store, "zoe").await;
    assert_ne!(later_zoe.id, zoe.id);
    assert_eq!(named("zoe").await, Some(later_zoe.id));
    assert_eq!(audited(&store, "agent.remove").await, 1);
    assert!(!store.agent_get(amy.id).await.expect("a read").expect("amy").removed);
}

pub(in crate::store) async fn every_link_raises_the_session_epoch(store: Shared) {
    let agent = joined(&store, "web-1").await;
    let connections = vec![("main".to_owned(), "postgres".to_owned(), true)];
    let attach = |seconds: i64| {
        let (store, connections) = (&store, connections.clone());
        async move {
            store
                .agent_attach(AgentAttach {
                    id: agent.id,
                    facts: Bytes::from_static(b"\0facts"),
                    connections,
                    time: later(seconds),
                    replica: "one".to_owned(),
                    lease_until: later(seconds + 40),
                })
                .await
        }
    };
    assert_eq!(attach(5).await.expect("a link"), 1);
    assert_eq!(attach(9).await.expect("a link"), 2);
    let now = store.agent_get(agent.id).await.expect("a read").expect("the agent");
    assert_eq!((now.session_epoch, now.last_seen_at), (2, Some(later(9))));
    assert_eq!((now.facts.as_ref(), &now.connections), (&b"\0facts"[..], &connections));
    store
        .agent_remove(agent.id, audit("agent.remove"))
        .await
        .expect("a removal");
    assert!(matches!(attach(10).await, Err(Error::NotFound { what: "agent", .. })));
}

pub(in crate::store) async fn labels_are_replaced_as_a_whole(store: Shared) {
    let agent = joined(&store, "web-1").await;
    let labels: std::collections::BTreeMap<_, _> = [("dc".to_owned(), "北京".to_owned())].into();
    let now = store
        .agent_set_labels(agent.id, labels.clone(), audit("agent.labels"))
        .await
        .expect("new labels");
    assert_eq!(now, Agent { labels, ..agent });
    assert_eq!(store.agent_get(now.id).await.expect("a read"), Some(now));
    assert_eq!(audited(&store, "agent.labels").await, 1);
}
