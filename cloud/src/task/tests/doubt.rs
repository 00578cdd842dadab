//! What is done when a word is late, comes twice, or comes from an older link; and when nobody hears.

use ExecutionState as S;
use opslink::{
    pb,
    pb::{AttemptPhase, ExecutionState as P, attach_response::Frame as Down},
    reason::Reason,
    task::ExecutionState,
};

use super::{
    bench::{Agent, Bench, caller, on, refused, report},
    trouble::{quick, rewrite},
};
use crate::task::{
    Config,
    heard::{self, Heard},
};

fn cancel(id: &str) -> pb::CancelTaskRequest {
    pb::CancelTaskRequest {
        id: id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_cancel_that_came_before_the_task_is_told_again_when_the_task_is_accepted() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    bench.engine.cancel(&caller(), cancel(&id)).await.unwrap();
    // The agent did not know the attempt yet, and ignored it.
    assert_eq!(agent.cancel().await, attempt);
    agent.accept(attempt).await;
    assert_eq!(agent.cancel().await, attempt);
    agent.finish(attempt, &[], S::Canceled).await;
    bench.until(&id, &[P::Canceled]).await;
}

#[tokio::test]
async fn a_wish_that_was_stored_and_not_carried_out_keeps_the_task_from_starting() {
    let bench = Bench::new().await;
    let away = bench.join("away").await;
    let request = pb::CreateTaskRequest {
        queueing: Some(pb::Queueing {
            enabled: true,
            ttl_secs: 60,
        }),
        ..on(&["away"])
    };
    let id = bench.create(request).await.unwrap().task.unwrap().id;
    // As if the process had ended between the two writes of a former cloud.
    let audit = super::bench::audit();
    bench
        .store
        .task_request_cancel(id.parse().unwrap(), &[], audit)
        .await
        .unwrap();
    let mut agent = bench.attach(away, Vec::new()).await;
    bench.until(&id, &[P::Canceled]).await;
    let next = bench.create_on(&["away"]).await;
    assert_eq!(agent.task().await.to_string(), next.executions[0].attempt_id);
}

#[tokio::test]
async fn a_cancel_of_what_has_ended_leaves_no_trace() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&id, &[P::Succeeded]).await;
    let rows = bench.store.audit_list(None, 100).await.unwrap().len();
    let task = bench.engine.cancel(&caller(), cancel(&id)).await.unwrap();
    assert!(!task.cancel_requested);
    assert_eq!(bench.store.audit_list(None, 100).await.unwrap().len(), rows);
}

#[tokio::test]
async fn an_endless_reason_to_cancel_is_refused() {
    let bench = Bench::new().await;
    let _agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let request = pb::CancelTaskRequest {
        reason: "x".repeat(1_001),
        ..cancel(&id)
    };
    let refused = bench.engine.cancel(&caller(), request).await.unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidArgument);
}

#[tokio::test]
async fn what_was_accepted_and_not_started_may_be_refused() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let agent = bench
        .attach(agent.id, vec![report(attempt, AttemptPhase::Accepted, 0)])
        .await;
    bench.until(&id, &[P::Running]).await;
    agent.send(refused(attempt, "NOT_STARTED")).await;
    bench.until(&id, &[P::Refused]).await;
}

#[tokio::test]
async fn what_runs_and_whose_output_cannot_be_kept_is_told_to_end() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&id, &[P::Running]).await;
    let words = [Heard::output_refused(agent.id, attempt, "a chunk is damaged")];
    let (commit, links) = (&bench.engine.submit.commit, bench.engine.links());
    heard::apply(commit, links, &words).await.unwrap();
    assert_eq!(bench.states(&id).await, [P::Lost]);
    assert_eq!(agent.cancel().await, attempt);
}

#[tokio::test]
async fn what_was_refused_and_runs_all_the_same_is_told_to_end() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.send(refused(attempt, "POLICY_DENIED")).await;
    bench.until(&id, &[P::Refused]).await;
    agent.accept(attempt).await;
    assert_eq!(agent.cancel().await, attempt);
}

#[tokio::test]
async fn a_hello_that_was_overtaken_says_nothing_about_what_came_after_it() {
    let bench = Bench::with(Config {
        concurrency: 1,
        ..Config::default()
    })
    .await;
    let id = bench.join("web").await;
    // The connection of the first Hello ends while it waits to be greeted; the agent dials again meanwhile.
    let held = bench.engine.attach_gate().acquire_owned().await.unwrap();
    let links = bench.engine.links().clone();
    let (older, _older_up) = Agent::dial(&links, id, Vec::new());
    let older = tokio::spawn(older);
    bench.until_arrived(1).await;
    older.abort();
    let (newer, newer_up) = Agent::dial(&links, id, Vec::new());
    let newer = tokio::spawn(newer);
    bench.until_arrived(2).await;
    drop(held);
    let mut agent = Agent::welcomed(id, newer.await.unwrap().unwrap(), newer_up).await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    assert!(older.await.is_err_and(|error| error.is_cancelled()));
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
}

#[tokio::test]
async fn two_retries_with_one_request_id_make_one_attempt() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Failed).await;
    bench.until(&id, &[P::Failed]).await;
    let request = pb::RetryTaskRequest {
        id: id.clone(),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..Default::default()
    };
    let caller = caller();
    let (one, two) = tokio::join!(
        bench.engine.retry(&caller, request.clone()),
        bench.engine.retry(&caller, request)
    );
    let attempt_of = |answer: pb::RetryTaskResponse| answer.executions[0].attempt_id.clone();
    assert_eq!(attempt_of(one.unwrap()), attempt_of(two.unwrap()));
    assert_eq!(bench.store.attempt_list(id.parse().unwrap()).await.unwrap().len(), 2);
    let _ = agent;
}

#[tokio::test]
async fn a_repeated_request_sends_what_nobody_has_sent() {
    let bench = Bench::new().await;
    let agent = bench.joined("web").await;
    let request = pb::CreateTaskRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..on(&["web"])
    };
    let created = bench.create(request.clone()).await.unwrap();
    let attempt = created.executions[0].attempt_id.parse().unwrap();
    // As if the process had died right after the commit, and the agent had come to the next one before.
    let mut agent = agent;
    assert_eq!(agent.task().await, attempt);
    bench.engine.forget(agent.id, attempt);
    bench.create(request).await.unwrap();
    assert_eq!(agent.task().await, attempt);
}

#[tokio::test]
async fn an_execution_that_the_store_lost_stops_nobody_else() {
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let lost = bench.create_on(&["a"]).await;
    let attempt = a.task().await;
    bench.engine.misremember(attempt);
    a.accept(attempt).await;
    // Its agent is asked anew, and what others say goes on.
    assert_eq!(a.end_of_link().await.unwrap().reason, Reason::AttemptNotFound);
    let id = bench.create_on(&["b"]).await.task.unwrap().id;
    let attempt = b.task().await;
    b.finish(attempt, &["x"], S::Succeeded).await;
    bench.until(&id, &[P::Succeeded]).await;
    let rows = bench.store.audit_list(None, 100).await.unwrap();
    assert!(rows.iter().any(|row| row.action == "execution.left_alone"));
    let _ = lost;
}

#[tokio::test]
async fn a_task_that_does_not_wait_for_agents_has_a_minute_to_start() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    loop {
        if let Down::Task(task) = agent.next().await.unwrap() {
            assert!(task.ttl_remaining_ms <= 60_000, "{}", task.ttl_remaining_ms);
            break;
        }
    }
}

#[tokio::test]
async fn a_waiting_task_that_was_not_to_wait_for_its_agent_ends_when_the_agent_was_away() {
    let bench = Bench::with(Config {
        slots_per_agent: 1,
        return_within: std::time::Duration::ZERO,
        ..Config::default()
    })
    .await;
    let mut agent = bench.joined("web").await;
    let first = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    let second = bench.create_on(&["web"]).await.task.unwrap().id;
    bench.until(&second, &[P::Queued]).await;
    let id = agent.id;
    drop(agent);
    bench.until_offline(id).await;
    bench.directory.backdate(id, std::time::Duration::from_secs(90));
    let agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 0)]).await;
    bench.until(&second, &[P::Expired]).await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&first, &[P::Succeeded]).await;
}

#[tokio::test]
async fn an_agent_whose_link_was_silent_before_its_end_has_been_away_since_that_end_only() {
    let bench = Bench::with(Config {
        slots_per_agent: 1,
        return_within: std::time::Duration::ZERO,
        ..Config::default()
    })
    .await;
    let mut agent = bench.joined("web").await;
    let first = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    let second = bench.create_on(&["web"]).await.task.unwrap().id;
    bench.until(&second, &[P::Queued]).await;
    let id = agent.id;
    // As long as a link may be silent; then it comes back in less than a minute, but not since it was heard of last.
    bench.directory.backdate(id, std::time::Duration::from_secs(45));
    drop(agent);
    bench.until_offline(id).await;
    bench.directory.backdate(id, std::time::Duration::from_secs(30));
    let mut agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 0)]).await;
    assert_eq!(bench.states(&second).await, [P::Queued]);
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&first, &[P::Succeeded]).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&second, &[P::Succeeded]).await;
}

#[tokio::test]
async fn what_an_older_link_said_of_a_start_counts_no_more_once_a_newer_one_is_up() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let older = agent.welcome.session_epoch;
    let mut agent = bench.attach(agent.id, Vec::new()).await;
    assert_eq!(
        agent.task().await,
        attempt,
        "the newer one does not have it: it is sent again"
    );
    let newer = agent.welcome.session_epoch;
    let hear = async |word: Heard| {
        let words = [word];
        let (commit, links) = (&bench.engine.submit.commit, bench.engine.links());
        heard::apply(commit, links, &words).await.unwrap();
        bench.states(&id).await
    };
    let late = Heard::accepted(agent.id, older, attempt, true);
    assert_eq!(hear(late).await, [P::Dispatched]);
    let late = Heard::refused(agent.id, older, attempt, "POLICY_DENIED".to_owned(), "m".to_owned());
    assert_eq!(hear(late).await, [P::Dispatched]);
    let word = Heard::accepted(agent.id, newer, attempt, true);
    assert_eq!(hear(word).await, [P::Running]);
}

#[tokio::test]
async fn what_runs_by_the_store_and_is_not_known_here_is_asked_for_anew() {
    let bench = Bench::with(quick()).await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    // As after a failover to a copy that does not have its end.
    rewrite(&bench, &id, |execution| execution.state = S::Running).await;
    bench.engine.forget(agent.id, attempt);
    assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::AttemptNotFound);
}

#[tokio::test]
async fn what_was_handed_over_and_not_sent_is_found_though_nobody_doubts_it() {
    let bench = Bench::with(quick()).await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    bench.engine.forget(agent.id, attempt);
    assert_eq!(agent.task().await, attempt);
}
