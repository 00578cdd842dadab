//! What every engine promises.

use crate::store::{Error, conformance::*};

pub(in crate::store) async fn a_change_is_made_only_while_its_before_holds(store: Shared) {
    let (task, executions) = stored_task(&store, &["web-1"]).await;
    let write = dispatch(&executions[0]);
    let answers = store
        .execution_apply(vec![write.clone()], Some(audit("x")))
        .await
        .expect("a change");
    let (done, now) = &answers[0];
    assert!(done);
    assert_eq!(
        *now,
        Execution {
            revision: now.revision,
            ..write.after.clone()
        }
    );
    assert!(now.revision > executions[0].revision);
    // The same change again, and one that expects another attempt: nothing happens, and no audit row is written.
    let mut other_attempt = end(now, ExecutionState::Failed);
    other_attempt.before.1 = Some(AttemptId::new());
    let answers = store
        .execution_apply(vec![write, other_attempt], Some(audit("x")))
        .await
        .expect("no change");
    assert_eq!(answers, [(false, now.clone()), (false, now.clone())]);
    assert_eq!(audited(&store, "x").await, 1);
    let ended = applied(&store, end(now, ExecutionState::Failed)).await;
    assert_eq!(store.execution_list(task.id, None, 10).await.expect("a read"), [ended]);
    assert!(
        store
            .execution_apply(Vec::new(), None)
            .await
            .expect("nothing to do")
            .is_empty()
    );
}

pub(in crate::store) async fn of_racing_changes_with_the_same_before_one_wins(store: Shared) {
    let (task, executions) = stored_task(&store, &["web-1"]).await;
    let race = (0..50).map(|_| {
        let (store, write) = (store.clone(), dispatch(&executions[0]));
        tokio::spawn(async move {
            store
                .execution_apply(vec![write], Some(audit("dispatch")))
                .await
                .expect("an answer")
        })
    });
    let answers = futures::future::try_join_all(race).await.expect("no panic").concat();
    assert_eq!(answers.iter().filter(|(won, _)| *won).count(), 1);
    let now = store.execution_list(task.id, None, 10).await.expect("a read").remove(0);
    assert!(
        answers.iter().all(|(_, seen)| *seen == now),
        "losers see the winner's work"
    );
    assert_eq!(store.attempt_list(task.id).await.expect("attempts").len(), 1);
    assert_eq!(audited(&store, "dispatch").await, 1);
}

pub(in crate::store) async fn many_changes_in_one_call_answer_in_order(store: Shared) {
    let names: Vec<String> = (0..1_500).map(|number| format!("agent-{number:04}")).collect();
    let (task, executions) = stored_task(&store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut writes: Vec<_> = executions.iter().map(dispatch).collect();
    for write in writes.iter_mut().step_by(3) {
        write.before.0 = ExecutionState::Running;
    }
    let answers = store.execution_apply(writes.clone(), None).await.expect("changes");
    for (position, ((done, now), write)) in answers.iter().zip(&writes).enumerate() {
        assert_eq!(
            (now.agent_id, *done),
            (write.after.agent_id, position % 3 != 0),
            "{position}"
        );
    }
    let stored = store.execution_list(task.id, None, 10_000).await.expect("executions");
    assert_eq!(stored, answers.into_iter().map(|(_, now)| now).collect::<Vec<_>>());
    assert_eq!(store.attempt_list(task.id).await.expect("attempts").len(), 1_000);
    assert_eq!(
        store.execution_counts(&[task.id]).await.expect("counts")[&task.id].states,
        [(ExecutionState::Queued, 500), (ExecutionState::Dispatched, 1_000)].into()
    );
}

pub(in crate::store) async fn two_changes_of_one_execution_in_one_call_build_on_each_other(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b"]).await;
    let first = dispatch(&executions[0]);
    let second = end(&first.after, ExecutionState::Succeeded);
    let writes = vec![first, dispatch(&executions[1]), second];
    let answers = store.execution_apply(writes, None).await.expect("changes");
    assert!(answers.iter().all(|(done, _)| *done), "{answers:?}");
    assert!(answers[0].1.revision < answers[2].1.revision);
    let now = store.execution_list(task.id, None, 10).await.expect("a read").remove(0);
    assert_eq!(now, answers[2].1);
    let attempts = store.attempt_list(task.id).await.expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert!(
        attempts
            .iter()
            .any(|attempt| attempt.state == ExecutionState::Succeeded && attempt.outcome == now.outcome)
    );
}

pub(in crate::store) async fn an_unknown_execution_undoes_the_whole_call(store: Shared) {
    let (task, executions) = stored_task(&store, &["a"]).await;
    let writes = vec![dispatch(&executions[0]), dispatch(&queued(&task, "stranger"))];
    let answer = store.execution_apply(writes, Some(audit("x"))).await;
    assert!(
        matches!(answer, Err(Error::NotFound { what: "execution", .. })),
        "{answer:?}"
    );
    assert_eq!(
        store.execution_list(task.id, None, 10).await.expect("executions"),
        executions
    );
    assert!(store.attempt_list(task.id).await.expect("attempts").is_empty());
    assert_eq!(audited(&store, "x").await, 0);
}

pub(in crate::store) async fn a_wish_to_cancel_survives_a_change_that_did_not_know_it(store: Shared) {
    let (task, executions) = stored_task(&store, &["a"]).await;
    let decided_before = dispatch(&executions[0]);
    store
        .task_request_cancel(task.id, &[], audit("task.cancel"))
        .await
        .expect("a cancel");
    let now = applied(&store, decided_before).await;
    assert!(now.cancel_requested);
    let ended = applied(&store, end(&now, ExecutionState::Canceled)).await;
    let retry = dispatch(&Execution {
        cancel_requested: false,
        ..ended
    });
    assert!(
        !applied(&store, retry).await.cancel_requested,
        "a retry begins without it"
    );
}

pub(in crate::store) async fn a_retry_adds_an_attempt_and_keeps_the_old_one(store: Shared) {
    let (task, executions) = stored_task(&store, &["a"]).await;
    let first = applied(&store, dispatch(&executions[0])).await;
    let failed = applied(&store, end(&first, ExecutionState::Failed)).await;
    let again = Execution {
        started_at: None,
        finished_at: None,
        outcome: None,
        output_verified: false,
        ..failed.clone()
    };
    let second = applied(&store, dispatch(&again)).await;
    let attempts = store.attempt_list(task.id).await.expect("attempts");
    let seen: Vec<_> = attempts
        .iter()
        .map(|attempt| (Some(attempt.id), attempt.number, attempt.state))
        .collect();
    let wanted = [
        (first.attempt_id, 1, ExecutionState::Failed),
        (second.attempt_id, 2, ExecutionState::Dispatched),
    ];
    assert_eq!(seen, wanted);
    assert_eq!(
        (&attempts[0].outcome, attempts[0].finished_at),
        (&failed.outcome, failed.finished_at)
    );
    assert_eq!((&attempts[1].outcome, attempts[1].finished_at), (&None, None));
    for attempt in &attempts {
        assert_eq!(
            store.execution_by_attempt(attempt.id).await.expect("a read").as_ref(),
            Some(&second)
        );
    }
    assert_eq!(
        store.execution_by_attempt(AttemptId::new()).await.expect("a read"),
        None
    );
}

pub(in crate::store) async fn heads_of_attempts_are_those_of_the_agents_that_are_asked_for(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
    let mut ended = Vec::new();
    for execution in &executions {
        let running = applied(&store, dispatch(execution)).await;
        ended.push(applied(&store, end(&running, ExecutionState::Failed)).await);
    }
    let again = dispatch(&Execution {
        started_at: None,
        finished_at: None,
        outcome: None,
        ..ended[0].clone()
    });
    let again = applied(&store, again).await;
    let (a, c) = (again.agent_id, ended[2].agent_id);
    let heads = store.attempt_heads(task.id, &[a, c]).await.expect("attempts");
    let of = |agent| {
        let of_it = heads.iter().filter(move |head| head.agent_id == agent);
        of_it
            .map(|head| (Some(head.id), head.number, head.state, head.finished_at))
            .collect::<Vec<_>>()
    };
    let like = |execution: &Execution| {
        (
            execution.attempt_id,
            execution.attempt_number,
            execution.state,
            execution.finished_at,
        )
    };
    assert_eq!(heads.len(), 3);
    assert_eq!(of(a), [like(&ended[0]), like(&again)], "oldest first");
    assert_eq!(of(c), [like(&ended[2])]);
    assert!(store.attempt_heads(task.id, &[]).await.expect("attempts").is_empty());
    let other = store.attempt_heads(TaskId::new(), &[a]).await.expect("attempts");
    assert!(other.is_empty());
}

pub(in crate::store) async fn the_last_end_comes_with_the_counts(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
    let (other, _) = stored_task(&store, &["a"]).await;
    let counts = async || {
        let counts = store.execution_counts(&[task.id, other.id]).await.expect("counts");
        assert_eq!(counts[&other.id].last_end, None, "nothing of it has ended");
        counts[&task.id].clone()
    };
    assert_eq!(counts().await.last_end, None);
    let mut ended = Vec::new();
    for (execution, (state, seconds)) in executions.iter().zip([
        (ExecutionState::Failed, 5),
        (ExecutionState::Succeeded, 9),
        (ExecutionState::Succeeded, 7),
    ]) {
        let at_work = applied(&store, dispatch(execution)).await;
        let mut write = end(&at_work, state);
        write.after.finished_at = Some(later(seconds));
        ended.push(applied(&store, write).await);
    }
    let all = TaskCounts {
        states: [(ExecutionState::Failed, 1), (ExecutionState::Succeeded, 2)].into(),
        last_end: Some(later(9)),
    };
    assert_eq!(counts().await, all);
    // What begins again has no end.
    let again = Execution {
        started_at: None,
        finished_at: None,
        outcome: None,
        ..ended[1].clone()
    };
    applied(&store, dispatch(&again)).await;
    assert_eq!(counts().await.last_end, Some(later(7)));
}

pub(in crate::store) async fn changes_come_in_revision_order_from_any_point(store: Shared) {
    let (task, executions) = stored_task(&store, &["a", "b", "c"]).await;
    for position in [2, 0, 1] {
        applied(&store, dispatch(&executions[position])).await;
    }
    let (other, _) = stored_task(&store, &["a"]).await;
    let names = |changes: &[Execution]| {
        changes
            .iter()
            .map(|change| change.agent_name.clone())
            .collect::<Vec<_>>()
    };
    let all = store.execution_changes(task.id, 0, 10).await.expect("changes");
    assert_eq!(names(&all), ["c", "a", "b"]);
    let rest = store
        .execution_changes(task.id, all[0].revision, 1)
        .await
        .expect("changes");
    assert_eq!(names(&rest), ["a"]);
    assert!(
        store
            .execution_changes(task.id, all[2].revision, 10)
            .await
            .expect("changes")
            .is_empty()
    );
    let others = store.execution_changes(other.id, 0, 10).await.expect("changes");
    assert_eq!(others[0].revision, 1, "every task counts for itself");
}

pub(in crate::store) async fn a_watcher_never_misses_a_lower_revision(store: Shared) {
    let names: Vec<String> = (0..400).map(|number| format!("agent-{number:03}")).collect();
    let (task, executions) = stored_task(&store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let start = executions
        .iter()
        .map(|execution| execution.revision)
        .max()
        .expect("executions");
    let writers: Vec<_> = executions
        .chunks(50)
        .map(|share| {
            let (store, share) = (store.clone(), share.to_vec());
            tokio::spawn(async move {
                for execution in &share {
                    applied(&store, dispatch(execution)).await;
                }
            })
        })
        .collect();
    let (mut position, mut seen) = (start, std::collections::BTreeSet::new());
    while seen.len() < executions.len() {
        let changes = store
            .execution_changes(task.id, position, 1_000)
            .await
            .expect("changes");
        if changes.is_empty() && writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let last = store
                .execution_changes(task.id, position, 1_000)
                .await
                .expect("changes");
            seen.extend(last.iter().map(|change| change.agent_id));
            break;
        }
        position = changes.last().map_or(position, |change| change.revision);
        seen.extend(changes.iter().map(|change| change.agent_id));
        tokio::task::yield_now().await;
    }
    futures::future::try_join_all(writers).await.expect("no panic");
    assert_eq!(
        seen.len(),
        executions.len(),
        "every change is seen by reading on from the last one"
    );
}

pub(in crate::store) async fn open_and_expired_executions_are_found(store: Shared) {
    let task = new_task();
    let make = |name: &str, state, deadline| Execution {
        state,
        queue_deadline: deadline,
        ..queued(&task, name)
    };
    let executions = vec![
        make("a", ExecutionState::Held, Some(later(20))),
        make("b", ExecutionState::Queued, Some(later(10))),
        make("c", ExecutionState::Queued, None),
        make("d", ExecutionState::Running, Some(later(5))),
        make("e", ExecutionState::Lost, Some(later(5))),
        make("f", ExecutionState::Queued, Some(later(30))),
    ];
    let agents: Vec<_> = executions.iter().map(|execution| execution.agent_id).collect();
    store
        .task_create(task.clone(), executions, audit("task.create"))
        .await
        .expect("a task");
    let second = Task {
        id: TaskId::new(),
        ..new_task()
    };
    let again = Execution {
        agent_id: agents[1],
        ..queued(&second, "b")
    };
    store
        .task_create(second.clone(), vec![again], audit("task.create"))
        .await
        .expect("a task");

    let names = |list: Vec<Execution>| {
        list.into_iter()
            .map(|execution| execution.agent_name)
            .collect::<Vec<_>>()
    };
    let expired = async |now, after, limit| store.execution_expired(now, after, limit).await.expect("expired");
    assert_eq!(names(expired(later(25), None, 10).await), ["b", "a"]);
    assert_eq!(names(expired(later(20), None, 1).await), ["b"]);
    let behind_b = Some((later(10), task.id, agents[1]));
    assert_eq!(names(expired(later(20), behind_b, 1).await), ["a"]);
    assert!(expired(later(9), None, 10).await.is_empty());
    let open = async |agent| store.execution_open_page(agent, None, 10).await.expect("open ones");
    assert_eq!(
        open(agents[1])
            .await
            .iter()
            .map(|execution| execution.task_id)
            .collect::<Vec<_>>(),
        [task.id, second.id]
    );
    assert!(open(agents[4]).await.is_empty());
    let mut of_task = names(store.execution_open_of_task(task.id).await.expect("open ones"));
    of_task.sort();
    assert_eq!(of_task, ["a", "b", "c", "d", "f"]);
}
