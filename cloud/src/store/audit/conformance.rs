//! What every engine promises.

use crate::store::{Error, conformance::*};

pub(in crate::store) async fn a_failed_change_leaves_no_audit_row(store: Shared) {
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

pub(in crate::store) async fn audit_rows_come_newest_first_in_pages(store: Shared) {
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

pub(in crate::store) async fn a_long_detail_cannot_make_the_list_unreadable(store: Shared) {
    let long = Audit {
        detail: "长".repeat(2_000_000),
        resource: "r".repeat(100_000),
        ..audit("task.cancel")
    };
    for _ in 0..20 {
        store.audit_insert(long.clone()).await.expect("a row");
    }
    let (mut before, mut seen) = (None, 0);
    loop {
        let page = store.audit_list(before, 1_000).await.expect("a page");
        let Some(last) = page.last() else { break };
        let size: usize = page.iter().map(|row| row.detail.len() + row.resource.len()).sum();
        assert!(size <= 1 << 20, "{size}");
        assert!(
            page.iter()
                .all(|row| row.detail.chars().count() == 4_096 && row.detail.ends_with('…'))
        );
        before = Some(last.id);
        seen += page.len();
    }
    assert_eq!(seen, 20, "the pages hold every row once");
}

pub(in crate::store) async fn names_of_somebody_elses_choosing_are_cut(store: Shared) {
    let huge = "é".repeat(1_000_000);
    let long = Audit {
        actor: huge.clone(),
        resource: huge.clone(),
        detail: huge.clone(),
        peer: huge,
        ..audit("task.read_output")
    };
    // By itself, and with a task.
    store.audit_insert(long.clone()).await.expect("a row");
    let created = store.task_create(new_task(), Vec::new(), long).await;
    assert_eq!(created.expect("a task"), TaskCreated::New);
    let rows = store.audit_list(None, 10).await.expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        for (text, kept) in [
            (&row.actor, 512),
            (&row.resource, 512),
            (&row.detail, 4_096),
            (&row.peer, 512),
        ] {
            assert_eq!(text.chars().count(), kept);
            assert!(text.ends_with('…'), "it shows that something is missing");
        }
    }
}
