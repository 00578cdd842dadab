//! Faults of requests, their hashes, and their bounds.

use super::*;

fn request() -> pb::CreateTaskRequest {
    let shell = pb::ShellSpec {
        argv: vec!["true".into()],
        env: (0..20).map(|n| (format!("K{n}"), "v".into())).collect(),
        ..Default::default()
    };
    pb::CreateTaskRequest {
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        }),
        selector: Some(pb::Selector {
            names: vec!["web".into()],
            exclude: vec!["db".into()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn field(request: pb::CreateTaskRequest) -> String {
    let problem = create(request).task.unwrap_err();
    problem
        .args
        .get("field")
        .cloned()
        .unwrap_or_else(|| problem.reason.code().to_owned())
}

#[test]
fn the_faults_of_a_request_are_told_in_the_order_of_its_fields() {
    let mut faulty = pb::CreateTaskRequest {
        spec: None,
        reason: "x".repeat(REASON_MAX + 1),
        request_id: "none".into(),
        queueing: Some(pb::Queueing {
            enabled: true,
            ttl_secs: QUEUE_TTL_MAX_SECS + 1,
        }),
        selector: None,
        ..request()
    };
    assert_eq!(field(faulty.clone()), "spec");
    faulty.spec = request().spec;
    assert_eq!(field(faulty.clone()), "reason");
    faulty.reason.clear();
    assert_eq!(field(faulty.clone()), "request_id");
    faulty.request_id.clear();
    assert_eq!(field(faulty.clone()), "queueing.ttl_secs");
    faulty.queueing = None;
    assert_eq!(field(faulty.clone()), "SELECTOR_EMPTY");
    faulty.selector = request().selector;
    let task = create(faulty).task.unwrap();
    assert_eq!(task.queue_ttl_secs, QUEUE_TTL_DEFAULT_SECS);
    assert_eq!((task.queueing, task.dry_run, task.expected), (false, false, None));
}

#[test]
fn a_faulty_request_keeps_its_id_and_hash_so_that_its_first_answer_is_found() {
    let good = pb::CreateTaskRequest {
        request_id: "0198c0de-0000-7000-8000-000000000001".into(),
        ..request()
    };
    let faulty = pb::CreateTaskRequest {
        selector: None,
        ..good.clone()
    };
    let (good, faulty) = (create(good), create(faulty));
    assert!(good.task.is_ok() && faulty.task.is_err());
    assert_eq!(good.request_id, faulty.request_id);
    assert_eq!(faulty.request_hash.len(), 32);
    assert_ne!(good.request_hash, faulty.request_hash);
}

#[test]
fn the_hash_is_that_of_all_but_the_id_in_any_order_of_a_map() {
    let first = create(request());
    // Another map of the same pairs has another order, as a rule.
    let same = pb::CreateTaskRequest {
        request_id: "0198c0de-0000-7000-8000-000000000001".into(),
        ..request()
    };
    assert_eq!(create(same).request_hash, first.request_hash);
    let other = pb::CreateTaskRequest {
        dry_run: true,
        ..request()
    };
    assert_ne!(create(other).request_hash, first.request_hash);
}

/// Whoever asks again after an upgrade gets the first answer: the hashes in the database are those of 0.1.0.
#[test]
fn the_hash_is_the_one_that_0_1_0_made() {
    let hash = hex::encode(create(request()).request_hash);
    assert_eq!(hash, "97a2052286129ff6f026419bd300c7817d5f6bfb72b55e351ea0ea6b9fa9cc47");
}

#[test]
fn what_is_kept_is_what_was_meant() {
    let task = create(request()).task.unwrap();
    let kept = pb::TaskSpec::decode(task.spec_bytes).unwrap();
    assert_eq!(TaskSpec::try_from(kept).unwrap(), task.spec);
    assert_eq!(
        pb::Selector::decode(task.selector_bytes).unwrap(),
        request().selector.unwrap()
    );
    assert_eq!(task.selector_text, "web --exclude db");
}

#[test]
fn pages_are_within_their_bounds_and_begin_at_keys() {
    let list_of = |page_size, token: &str| {
        list(&pb::ListTasksRequest {
            page_size,
            page_token: token.into(),
            ..Default::default()
        })
    };
    assert_eq!(list_of(0, "").unwrap().page_size, 50);
    assert_eq!(list_of(i32::MAX, "").unwrap().page_size, 1_000);
    assert_eq!(list_of(-1, "").unwrap_err().args["field"], "page_size");
    assert_eq!(list_of(0, "x").unwrap_err().args["field"], "page_token");
    let chunks_from = |token: &str| {
        chunks(pb::ListChunksRequest {
            page_token: token.into(),
            ..Default::default()
        })
    };
    let first = chunks_from("").unwrap();
    assert_eq!((first.from, first.page_size), (0, 10_000));
    assert_eq!(chunks_from("17").unwrap().from, 17);
    assert_eq!(chunks_from("-1").unwrap_err().args["field"], "page_token");
}

/// R2: 360 kB of one name, compared with every execution of a task, held a thread for thirteen seconds.
#[test]
fn no_list_of_names_is_longer_than_a_selector_may_be() {
    let faults = |count: usize| {
        let agents = vec!["a".to_owned(); count];
        let watched = watch(pb::WatchTaskRequest {
            agents: agents.clone(),
            ..Default::default()
        });
        let cancelled = cancel(pb::CancelTaskRequest {
            agents: agents.clone(),
            ..Default::default()
        });
        let retried = retry(pb::RetryTaskRequest {
            agents,
            ..Default::default()
        });
        [watched.err(), cancelled.err(), retried.err()]
    };
    assert_eq!(faults(NAMES_MAX), [None, None, None]);
    for fault in faults(NAMES_MAX + 1) {
        assert_eq!(fault.unwrap().args["field"], "agents");
    }
}
