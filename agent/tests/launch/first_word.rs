//! Runners, and a fork server, that never say a first word.

use std::time::Duration;

use opslink::{id::AttemptId, pb};
use opslink_agent::launch::Launcher;

use crate::bench::{Bench, kill_hard, order, stop, wait_for};

/// Longer than the time for a first word.
const LIMIT: Duration = Duration::from_secs(60);

fn is_dead(pid: u32) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (status.is_empty() || status.contains("State:\tZ")).then_some(())
}

async fn never_began(bench: &Bench, id: AttemptId) {
    let outcome = bench.outcome_within(id, LIMIT).await;
    assert_eq!(
        (outcome.kind(), outcome.reason.as_str()),
        (pb::OutcomeKind::Refused, "NOT_STARTED")
    );
}

#[tokio::test]
async fn a_runner_that_never_says_its_first_word_is_killed_and_its_attempt_ends() {
    let bench = Bench::new();
    let (_, spare) = bench.server_and_spare().await;
    stop(spare);
    let id = bench.start("true").await;
    never_began(&bench, id).await;
    wait_for("the runner to be gone", || is_dead(spare)).await;
}

#[tokio::test]
async fn a_cancel_ends_a_runner_that_never_says_its_first_word() {
    let bench = Bench::new();
    let (_, spare) = bench.server_and_spare().await;
    stop(spare);
    let id = bench.start("true").await;
    bench.launcher().cancel(id);
    let canceled = std::time::Instant::now();
    never_began(&bench, id).await;
    assert!(canceled.elapsed() < Duration::from_secs(29), "by its cancel");
    wait_for("the runner to be gone", || is_dead(spare)).await;
}

#[tokio::test]
async fn a_runner_that_cannot_dial_is_left_at_its_work() {
    let bench = Bench::new();
    // Runners dial this name; it leads nowhere from now on.
    std::fs::remove_file(bench.state().socket()).unwrap();
    let id = bench.start("sleep 33; exit 5").await;
    let outcome = bench.outcome_within(id, LIMIT).await;
    assert_eq!(outcome.exit_code, Some(5));
}

#[tokio::test]
async fn a_fork_server_that_does_not_answer_is_replaced() {
    let bench = Bench::new();
    let (server, _) = bench.server_and_spare().await;
    stop(server);
    let unanswered = order("true");
    let id = unanswered.id;
    tokio::time::timeout(LIMIT, bench.launcher().start(unanswered))
        .await
        .expect("an answer")
        .unwrap();
    never_began(&bench, id).await;
    let next = bench.start("exit 4").await;
    assert_eq!(bench.outcome(next).await.exit_code, Some(4));
    kill_hard(server);
}
