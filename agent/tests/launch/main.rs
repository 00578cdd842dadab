//! The process launcher with real runner processes: start once, adopt after a restart, report what is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod bench;
mod first_word;
mod remains;
mod replays;
mod upgrade;

use std::{path::PathBuf, time::Duration};

use opslink::{event::EventBody, id::AttemptId, pb, time::UnixMicros};
use opslink_agent::{
    clock::Deadline,
    journal::{AttemptDir, Fence},
    launch::{Launcher, Order, Phase, ProcessLauncher},
    policy::Permit,
};

use crate::bench::{Bench, children_of, is_gone, is_unlocked, kill_hard, order, parent_of, wait_for};

#[tokio::test]
async fn an_attempt_runs_once_even_if_its_order_comes_again_after_its_journal_is_gone() {
    let mut bench = Bench::new();
    let witness = bench.folder.path().join("witness");
    let order = order(&format!("echo ran >> {}", witness.display()));
    let id = order.id;
    bench.launcher().start(order.clone()).await.unwrap();
    assert_eq!(bench.outcome(id).await.kind(), pb::OutcomeKind::Succeeded);

    let again = bench.launcher().start(order.clone()).await.unwrap_err();
    assert_eq!(again.reason, "ATTEMPT_REPLAYED");
    bench.launcher().forget(id);
    let path = bench.dir(id).path().to_owned();
    wait_for("the journal to go", || is_gone(&path)).await;
    assert_eq!(
        bench.launcher().start(order.clone()).await.unwrap_err().reason,
        "ATTEMPT_REPLAYED"
    );
    bench.restart();
    assert_eq!(
        bench.launcher().start(order).await.unwrap_err().reason,
        "ATTEMPT_REPLAYED"
    );
    assert!(!path.exists(), "a refused order leaves no trace");
    assert_eq!(std::fs::read_to_string(witness).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_running_attempt_survives_the_agent_and_is_adopted_with_the_same_process() {
    let mut bench = Bench::new();
    let gate = bench.folder.path().join("gate");
    let id = bench
        .start(&format!(
            "echo before; until [ -e {} ]; do sleep 0.05; done; echo after",
            gate.display()
        ))
        .await;
    let pid = bench.runner_of(id).await;
    bench.restart();
    let known = bench.launcher().known();
    assert_eq!((known.len(), known[0].id, known[0].phase), (1, id, Phase::Running));
    std::fs::write(&gate, "").unwrap();
    assert_eq!(bench.outcome(id).await.kind(), pb::OutcomeKind::Succeeded);
    assert_eq!(bench.dir(id).record().unwrap().runner.unwrap().pid, pid);
}

#[tokio::test]
async fn a_killed_runner_is_reported_as_lost() {
    let bench = Bench::new();
    let id = bench.start("sleep 60").await;
    kill_hard(bench.runner_of(id).await);
    let outcome = bench.outcome(id).await;
    assert_eq!(
        (outcome.kind(), outcome.reason.as_str()),
        (pb::OutcomeKind::Lost, "RUNNER_LOST")
    );
}

#[tokio::test]
async fn a_runner_that_died_while_the_agent_was_down_is_reported_as_lost() {
    let mut bench = Bench::new();
    let id = bench.start("sleep 60").await;
    let pid = bench.runner_of(id).await;
    bench.launcher = None;
    kill_hard(pid);
    wait_for("the runner to die", || is_unlocked(&bench.dir(id))).await;
    bench.restart();
    assert_eq!(bench.outcome(id).await.reason, "RUNNER_LOST");
}

#[tokio::test]
async fn an_adopted_runner_that_dies_is_reported_as_lost() {
    let mut bench = Bench::new();
    let id = bench.start("sleep 60").await;
    let pid = bench.runner_of(id).await;
    bench.restart();
    kill_hard(pid);
    assert_eq!(bench.outcome(id).await.reason, "RUNNER_LOST");
}

#[tokio::test]
async fn a_cancel_reaches_a_runner_that_only_reconnects_after_it() {
    let mut bench = Bench::new();
    let id = bench.start("sleep 60").await;
    bench.runner_of(id).await;
    bench.restart();
    // The runner has not redialed yet, or has: the cancel must hold either way.
    bench.launcher().cancel(id);
    assert_eq!(bench.outcome(id).await.kind(), pb::OutcomeKind::Canceled);
}

/// The courier asks for the end of what it has ordered and what is still on its way to its journal.
#[tokio::test]
async fn a_cancel_that_comes_before_its_task_keeps_it_from_starting() {
    let bench = Bench::new();
    let witness = bench.folder.path().join("witness");
    let order = order(&format!("echo ran >> {}", witness.display()));
    bench.launcher().cancel(order.id);
    let refusal = bench.launcher().start(order.clone()).await.unwrap_err();
    assert_eq!(refusal.reason, "CANCELED");
    assert_eq!(bench.launcher().known(), [], "no trace is left");
    assert_eq!(std::fs::read_dir(bench.state().attempts()).unwrap().count(), 0);
    // It holds as long as the task could come.
    assert_eq!(bench.launcher().start(order).await.unwrap_err().reason, "CANCELED");
    assert!(!witness.exists());
}

#[tokio::test]
async fn a_task_that_waited_for_too_long_is_refused_and_leaves_no_trace() {
    let bench = Bench::new();
    let late = Order {
        start_by: Some(Deadline::after(Duration::ZERO)),
        ..order("true")
    };
    let refusal = bench.launcher().start(late).await.unwrap_err();
    assert_eq!(refusal.reason, "QUEUE_EXPIRED");
    assert_eq!(std::fs::read_dir(bench.state().attempts()).unwrap().count(), 0);
    let in_time = Order {
        start_by: Some(Deadline::after(Duration::from_secs(60))),
        ..order("true")
    };
    bench.launcher().start(in_time).await.unwrap();
}

#[tokio::test]
async fn an_attempt_whose_folder_a_power_cut_took_is_reported_as_lost() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let (taken, done) = (AttemptId::new(), AttemptId::new());
    let now = UnixMicros::now();
    let mut fence = Fence::open(&bench.state().fence(), now).unwrap();
    fence.take(taken, None, now, now).unwrap();
    fence.take(done, None, now, now).unwrap();
    fence.close(done, now).unwrap();
    drop(fence);
    bench.restart();
    let known: Vec<_> = bench.launcher().known();
    assert_eq!((known.len(), known[0].id, known[0].phase), (1, taken, Phase::Ended));
    let end = bench.launcher().read(taken, 0).unwrap().unwrap().outcome.unwrap();
    assert_eq!(
        (end.kind(), end.reason.as_str()),
        (pb::OutcomeKind::Lost, "HOST_REBOOTED")
    );
    // Once the cloud has that, it is over for good.
    let path = bench.dir(taken).path().to_owned();
    bench.launcher().forget(taken);
    wait_for("the journal to go", || is_gone(&path)).await;
    bench.restart();
    assert_eq!(bench.launcher().known(), []);
}

#[tokio::test]
async fn output_that_was_given_back_and_is_asked_for_again_is_told_to_be_missing() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let id = AttemptId::new();
    let dir = AttemptDir::create(
        &bench.state().attempts(),
        id,
        &pb::SignedEnvelope::default(),
        &Permit::default(),
    )
    .unwrap();
    let (mut writer, _) = dir.writer().unwrap();
    for number in 0..3 {
        // Each fills a segment of the journal.
        let chunk = pb::LogChunk {
            attempt_id: id.to_string(),
            first_seq: number * 2,
            event_count: 2,
            payload: vec![7; 9 << 20].into(),
            ..Default::default()
        };
        writer.append_chunk(&chunk).unwrap();
    }
    assert!(writer.give_back(4, true).unwrap());
    drop(writer);
    bench.restart();
    let read = |seq| bench.launcher().read(id, seq).unwrap().unwrap();
    let missing = read(1);
    assert_eq!((missing.first_seq, missing.event_count), (1, 3));
    let events = opslink::chunk::decode(&missing).unwrap();
    assert!(
        matches!(&events[0].body, EventBody::Note(note) if note.reason == "OUTPUT_LOST"),
        "{events:?}"
    );
    assert_eq!(read(4).first_seq, 4, "and what is there goes on after it");
    assert!(read(6).outcome.is_some());
}

#[tokio::test]
async fn a_spare_that_was_killed_is_not_missed() {
    let bench = Bench::new();
    let (server, spare) = bench.server_and_spare().await;
    kill_hard(spare);
    wait_for("another spare", || {
        let children = children_of(server);
        (!children.is_empty() && !children.contains(&spare)).then_some(())
    })
    .await;
    let second = bench.start("exit 4").await;
    assert_eq!(bench.outcome(second).await.exit_code, Some(4));
}

#[tokio::test]
async fn a_runner_that_cannot_be_started_leaves_no_trace() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let launcher = ProcessLauncher::open(&bench.state(), PathBuf::from("/nonexistent/agent")).unwrap();
    let refusal = launcher.start(order("true")).await.unwrap_err();
    assert_eq!(refusal.reason, "RUNNER_UNSTARTABLE");
    assert_eq!(launcher.known(), []);
    assert_eq!(std::fs::read_dir(bench.state().attempts()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_killed_fork_server_harms_no_attempt_and_the_next_task_has_another() {
    let bench = Bench::new();
    let gate = bench.folder.path().join("gate");
    let script = format!("until test -e {}; do sleep 0.01; done", gate.display());
    let first = bench.start(&script).await;
    let runner = bench.runner_of(first).await;
    let server = parent_of(runner);
    assert_ne!(server, std::process::id(), "runners are forked by the server");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(server.try_into().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    // At once, so that the agent may or may not have heard of it.
    let second = bench.start("exit 3").await;
    assert_eq!(bench.outcome(second).await.exit_code, Some(3));
    let other = bench.start(&script).await;
    assert_ne!(parent_of(bench.runner_of(other).await), server);
    std::fs::write(gate, "").unwrap();
    let mut open = vec![first, other];
    while !open.is_empty() {
        let changed = tokio::time::timeout(Duration::from_secs(30), bench.launcher().changed());
        let ended = changed.await.expect("both end");
        open.retain(|id| !ended.contains(&(*id, Phase::Ended)));
    }
    for id in [first, other] {
        let outcome = bench.dir(id).record().unwrap().outcome.expect("an end");
        assert_eq!(outcome.kind(), pb::OutcomeKind::Succeeded, "{outcome:?}");
    }
}
