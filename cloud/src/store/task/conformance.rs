//! What every engine promises.

use crate::store::conformance::*;

pub(in crate::store) async fn a_task_comes_back_as_it_was_stored(store: Shared) {
    let task = Task {
        request_id: Some("r".to_owned()),
        queue_ttl_secs: None,
        ..new_task()
    };
    let mut execution = queued(&task, "web-1");
    execution.attempt_id = Some(AttemptId::new());
    execution.attempt_number = 1;
    execution.state = ExecutionState::Dispatched;
    store
        .task_create(task.clone(), vec![execution.clone()], audit("task.create"))
        .await
        .expect("a task");
    assert_eq!(store.task_get(task.id).await.expect("a read").as_ref(), Some(&task));
    let now = store.execution_list(task.id, None, 10).await.expect("a read").remove(0);
    assert!(now.revision > 0);
    assert_eq!(
        now,
        Execution {
            revision: now.revision,
            ..execution.clone()
        }
    );
    let attempts = store.attempt_list(task.id).await.expect("attempts");
    assert_eq!(attempts.len(), 1);
    assert_eq!(Some(attempts[0].id), execution.attempt_id);
    assert_eq!((attempts[0].number, attempts[0].created_at), (1, task.created_at));
    assert_eq!(
        store.attempt_get(attempts[0].id).await.expect("a read").as_ref(),
        Some(&attempts[0])
    );
    assert_eq!(store.task_get(TaskId::new()).await.expect("a read"), None);
    assert_eq!(store.task_revision(task.id).await.expect("a read"), now.revision);
    assert_eq!(store.task_revision(TaskId::new()).await.expect("a read"), 0);
    assert_eq!(audited(&store, "task.create").await, 1);
}

pub(in crate::store) async fn a_repeated_request_is_replayed_and_a_different_one_refused(store: Shared) {
    let request = |id: &str| Task {
        request_id: Some(id.to_owned()),
        ..new_task()
    };
    let first = request("r1");
    let create = |task: Task| {
        let store = &store;
        let executions = vec![queued(&task, "web-1")];
        async move {
            store
                .task_create(task, executions, audit("task.create"))
                .await
                .expect("an answer")
        }
    };
    assert_eq!(create(first.clone()).await, TaskCreated::New);
    assert_eq!(create(request("r1")).await, TaskCreated::Replayed(first.id));
    assert_eq!(
        create(Task {
            request_hash: vec![9],
            ..request("r1")
        })
        .await,
        TaskCreated::RequestIdConflict
    );
    assert_eq!(
        create(Task {
            created_by: "bob".to_owned(),
            ..request("r1")
        })
        .await,
        TaskCreated::New
    );
    assert_eq!(create(request("r2")).await, TaskCreated::New);
    let found = store.task_by_request(&first.created_by, "r1").await.expect("a read");
    assert_eq!(found, Some((first.id, first.request_hash.clone())));
    let found = store.task_by_request(&first.created_by, "r3").await;
    assert_eq!(found.expect("a read"), None);
    assert_eq!(
        store
            .task_list(TaskFilter {
                limit: 10,
                ..TaskFilter::default()
            })
            .await
            .expect("a list")
            .len(),
        3
    );
    assert_eq!(audited(&store, "task.create").await, 3);
}

pub(in crate::store) async fn of_racing_requests_one_task_is_made(store: Shared) {
    let race = (0..20).map(|_| {
        let store = store.clone();
        let task = Task {
            request_id: Some("r".to_owned()),
            ..new_task()
        };
        let executions = vec![queued(&task, "web-1")];
        tokio::spawn(async move {
            store
                .task_create(task, executions, audit("task.create"))
                .await
                .expect("an answer")
        })
    });
    let answers = futures::future::try_join_all(race).await.expect("no panic");
    assert_eq!(
        answers.iter().filter(|answer| **answer == TaskCreated::New).count(),
        1,
        "{answers:?}"
    );
    let tasks = store
        .task_list(TaskFilter {
            limit: 10,
            ..TaskFilter::default()
        })
        .await
        .expect("a list");
    assert_eq!(tasks.len(), 1);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == TaskCreated::Replayed(tasks[0].id))
            .count(),
        19
    );
    assert_eq!(audited(&store, "task.create").await, 1);
}

pub(in crate::store) async fn ten_thousand_executions_are_created_and_paged_in_name_order(store: Shared) {
    let names: Vec<String> = (0..10_000).rev().map(|number| format!("Agent-{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["agent-lower"]).collect();
    let (task, _) = stored_task(&store, &names).await;
    let mut paged: Vec<Execution> = Vec::new();
    loop {
        let after = paged.last().map(|execution| execution.agent_name.clone());
        let page = store
            .execution_list(task.id, after.as_deref(), 3_000)
            .await
            .expect("a page");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        paged
            .iter()
            .map(|execution| execution.agent_name.as_str())
            .collect::<Vec<_>>(),
        sorted
    );
    let revisions: std::collections::BTreeSet<_> = paged.iter().map(|execution| execution.revision).collect();
    assert_eq!(revisions.len(), 10_001, "every execution has its own revision");
    let counts = store.execution_counts(&[task.id, TaskId::new()]).await.expect("counts");
    assert_eq!(counts[&task.id].states, [(ExecutionState::Queued, 10_001)].into());
    assert_eq!(counts.len(), 2, "a task without executions is there, with no counts");
}

pub(in crate::store) async fn a_prefix_finds_one_task_or_shows_that_it_is_ambiguous(store: Shared) {
    let id = |text: &str| text.parse::<TaskId>().expect("an id");
    let ids = [
        id("0192f0c1-7b1a-7c3e-9f00-000000000001"),
        id("0192f0c1-7b1a-7c3e-9f00-000000000002"),
        id("0192f0c1-7c00-7c3e-9f00-000000000003"),
        id("0292f0c1-7c00-7c3e-9f00-000000000004"),
    ];
    for id in ids {
        store
            .task_create(Task { id, ..new_task() }, Vec::new(), audit("task.create"))
            .await
            .expect("a task");
    }
    for (prefix, wanted) in [
        ("0192f0c1", &ids[..2]),
        ("0192f0c1-7b", &ids[..2]),
        ("0192f0c1-7c", &ids[2..3]),
        ("0292f0c1", &ids[3..]),
        ("0192f0c1-7b1a-7c3e-9f00-000000000002", &ids[1..2]),
        ("0392f0c1", &[]),
        ("0192F0C1", &[]),
        ("nonsense", &[]),
    ] {
        assert_eq!(
            store.task_by_prefix(prefix).await.expect("a search"),
            wanted,
            "{prefix}"
        );
    }
}

pub(in crate::store) async fn tasks_are_listed_newest_first_and_filtered(store: Shared) {
    let (one, executions) = stored_task(&store, &["web-1", "web-2"]).await;
    let (two, _) = stored_task(&store, &["web-1"]).await;
    let (three, _) = stored_task(&store, &["web-1"]).await;
    let list = |filter: TaskFilter| {
        let store = &store;
        async move {
            store
                .task_list(filter)
                .await
                .expect("a list")
                .into_iter()
                .map(|task| task.id)
                .collect::<Vec<_>>()
        }
    };
    let all = TaskFilter {
        limit: 10,
        ..TaskFilter::default()
    };
    assert_eq!(list(all.clone()).await, [three.id, two.id, one.id]);
    assert_eq!(
        list(TaskFilter {
            limit: 1,
            ..all.clone()
        })
        .await,
        [three.id]
    );
    assert_eq!(
        list(TaskFilter {
            before: Some(three.id),
            ..all.clone()
        })
        .await,
        [two.id, one.id]
    );
    assert_eq!(
        list(TaskFilter {
            agent_id: Some(executions[1].agent_id),
            ..all.clone()
        })
        .await,
        [one.id]
    );
    assert!(
        list(TaskFilter {
            agent_id: Some(AgentId::new()),
            ..all
        })
        .await
        .is_empty()
    );
}

pub(in crate::store) async fn a_cancel_marks_what_is_open_and_raises_its_revision(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
    let ended = applied(&store, end(&executions[1], ExecutionState::Expired)).await;
    store
        .task_request_cancel(task.id, &[], audit("task.cancel"))
        .await
        .expect("a cancel");
    store
        .task_request_cancel(task.id, &[], audit("task.cancel"))
        .await
        .expect("asking twice is no error");
    assert!(
        store
            .task_get(task.id)
            .await
            .expect("a read")
            .expect("the task")
            .cancel_requested
    );
    let now = store.execution_list(task.id, None, 10).await.expect("executions");
    assert_eq!(
        now.iter()
            .map(|execution| execution.cancel_requested)
            .collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(now[1], ended);
    let changed = store
        .execution_changes(task.id, ended.revision, 10)
        .await
        .expect("changes");
    assert_eq!(changed.len(), 2, "a watcher sees the wish to cancel, once");
    assert_eq!(audited(&store, "task.cancel").await, 2);
}

pub(in crate::store) async fn a_cancel_of_some_agents_leaves_the_others(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
    let (other, _) = stored_task(&store, &["a"]).await;
    let agents = [executions[2].agent_id, AgentId::new()];
    store
        .task_request_cancel(task.id, &agents, audit("task.cancel"))
        .await
        .expect("a cancel");
    let now = store.execution_list(task.id, None, 10).await.expect("executions");
    assert_eq!(
        now.iter()
            .map(|execution| execution.cancel_requested)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(
        !store
            .task_get(other.id)
            .await
            .expect("a read")
            .expect("the other")
            .cancel_requested
    );
}
