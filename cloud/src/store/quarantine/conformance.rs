//! What every engine promises.

use crate::store::conformance::*;

pub(in crate::store) async fn an_agent_is_kept_out_until_its_time_has_passed(store: Shared) {
    let kept_out = |seconds: i64| Quarantine {
        agent_id: AgentId::new(),
        since: NOW,
        reason: "IDENTITY_COPIED".to_owned(),
        until: later(seconds),
    };
    let (short, long) = (kept_out(10), kept_out(100));
    for row in [&short, &long] {
        let put = store.quarantine_put(row.clone(), audit("agent.quarantine"));
        put.await.expect("a quarantine");
    }
    let get = |agent, seconds| store.quarantine_get(agent, later(seconds));
    assert_eq!(get(short.agent_id, 9).await.expect("a read").as_ref(), Some(&short));
    assert_eq!(get(short.agent_id, 10).await.expect("a read"), None);
    assert_eq!(get(long.agent_id, 99).await.expect("a read").as_ref(), Some(&long));

    // A second reason replaces the first.
    let longer = Quarantine {
        until: later(200),
        reason: "OTHER".to_owned(),
        ..long.clone()
    };
    let put = store.quarantine_put(longer.clone(), audit("agent.quarantine"));
    put.await.expect("a quarantine");
    assert_eq!(get(long.agent_id, 150).await.expect("a read"), Some(longer));
    assert_eq!(audited(&store, "agent.quarantine").await, 3);

    let expired = store
        .quarantine_remove_expired(later(150), 10)
        .await
        .expect("a removal");
    assert_eq!(expired, 1);
    for _ in 0..2 {
        let lift = store.quarantine_remove(long.agent_id, audit("agent.release"));
        lift.await.expect("a removal");
    }
    assert_eq!(get(long.agent_id, 0).await.expect("a read"), None);
    assert_eq!(
        audited(&store, "agent.release").await,
        1,
        "only what was there is lifted"
    );
}
