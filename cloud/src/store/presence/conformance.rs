//! What every engine promises.

use crate::store::{agent::conformance::joined, conformance::*};

/// Brings up a link of the agent and returns its epoch.
async fn attached(store: &Shared, agent: &Agent, replica: &str, seconds: i64) -> u64 {
    let attach = AgentAttach {
        id: agent.id,
        facts: Bytes::from_static(b"facts"),
        connections: Vec::new(),
        time: later(seconds),
        replica: replica.to_owned(),
        lease_until: later(seconds + 40),
    };
    store.agent_attach(attach).await.expect("a link")
}

pub(in crate::store) async fn signs_of_life_never_go_back(store: Shared) {
    let (one, two) = (joined(&store, "one").await, joined(&store, "two").await);
    for agent in [&one, &two] {
        attached(&store, agent, "here", 1).await;
    }
    let seen = |id, seconds| AgentSeen {
        id,
        time: later(seconds),
    };
    let note = |seen: Vec<AgentSeen>| store.presence_seen("here", seen, later(60));
    note(Vec::new()).await.expect("nothing to do");
    let stranger = AgentId::new();
    note(vec![
        seen(one.id, 9),
        seen(two.id, 3),
        seen(one.id, 5),
        seen(stranger, 1),
    ])
    .await
    .expect("a batch");
    note(vec![seen(one.id, 2), seen(two.id, 4)])
        .await
        .expect("a late batch");
    let mut agents = store.agent_list().await.expect("a list");
    let alone = store.agent_list_alone().await.expect("a list");
    let last: Vec<_> = agents.iter().map(|agent| agent.last_seen_at).collect();
    assert_eq!(last, [Some(later(9)), Some(later(4))]);
    for agent in &mut agents {
        agent.last_seen_at = None;
    }
    assert_eq!(alone, agents);
    assert_eq!(store.presence_get(stranger).await.expect("a read"), None);
}

pub(in crate::store) async fn a_lease_belongs_to_the_replica_that_holds_the_link(store: Shared) {
    let agent = joined(&store, "one").await;
    assert_eq!(store.presence_get(agent.id).await.expect("a read"), None);
    let first = attached(&store, &agent, "here", 1).await;
    let second = attached(&store, &agent, "there", 2).await;
    let wanted = Presence {
        agent_id: agent.id,
        replica: "there".to_owned(),
        epoch: second,
        lease_until: later(42),
        last_seen: later(2),
    };
    let now = store.presence_get(agent.id).await.expect("a read");
    assert_eq!(now.as_ref(), Some(&wanted));
    // The replica of the former link hears something late: it extends nothing, and ends nothing.
    let late = vec![AgentSeen {
        id: agent.id,
        time: later(3),
    }];
    store.presence_seen("here", late, later(90)).await.expect("a sign");
    store.presence_end(agent.id, first, later(4)).await.expect("a late end");
    let now = store.presence_get(agent.id).await.expect("a read").expect("a presence");
    assert_eq!((now.lease_until, now.last_seen), (later(42), later(3)));
    store.presence_end(agent.id, second, later(5)).await.expect("an end");
    let now = store.presence_get(agent.id).await.expect("a read").expect("a presence");
    assert_eq!(now.lease_until, later(5));
}
