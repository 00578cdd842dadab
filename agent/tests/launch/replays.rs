//! Attempts that come again, or in the place of another: what may have run is never told as if nothing ran, and what
//! never started is never told as if it had.

use std::{path::PathBuf, time::Duration};

use opslink::id::TaskId;
use opslink_agent::{
    clock::Deadline,
    journal::AttemptDir,
    launch::{Launcher, Order, ProcessLauncher},
};

use crate::bench::{Bench, is_gone, numbered, order, wait_for};

fn too_late(order: Order) -> Order {
    Order {
        start_by: Some(Deadline::after(Duration::ZERO)),
        ..order
    }
}

async fn refusal(launcher: &ProcessLauncher, order: &Order) -> &'static str {
    launcher.start(order.clone()).await.unwrap_err().reason
}

/// Runs it, and lets the cloud have it for good.
async fn run_and_forget(bench: &Bench, order: &Order) {
    bench.launcher().start(order.clone()).await.unwrap();
    bench.outcome(order.id).await;
    let path = bench.dir(order.id).path().to_owned();
    bench.launcher().forget(order.id);
    wait_for("the journal to go", || is_gone(&path)).await;
}

#[tokio::test]
async fn what_has_run_is_told_so_however_late_or_canceled_it_comes_again() {
    let mut bench = Bench::new();
    let order = order("true");
    run_and_forget(&bench, &order).await;
    let late = too_late(order.clone());
    assert_eq!(refusal(bench.launcher(), &late).await, "ATTEMPT_REPLAYED");
    bench.launcher().cancel(order.id);
    assert_eq!(refusal(bench.launcher(), &order).await, "ATTEMPT_REPLAYED");
    bench.restart();
    assert_eq!(refusal(bench.launcher(), &late).await, "ATTEMPT_REPLAYED");
}

/// One that cannot be read, say, or of an agent that wrote attempts into the fence only when their folders went.
#[tokio::test]
async fn what_has_a_folder_may_have_run_also_when_the_fence_does_not_know_it() {
    let bench = Bench::new();
    let order = order("true");
    AttemptDir::create(&bench.state().attempts(), order.id, &order.signed, &order.permit).unwrap();
    let late = too_late(order);
    assert_eq!(refusal(bench.launcher(), &late).await, "ATTEMPT_REPLAYED");
    bench.launcher().cancel(late.id);
    assert_eq!(refusal(bench.launcher(), &late).await, "ATTEMPT_REPLAYED");
}

#[tokio::test]
async fn another_attempt_of_a_task_starts_only_with_a_higher_number() {
    let mut bench = Bench::new();
    let witness = bench.folder.path().join("witness");
    let script = format!("echo ran >> {}", witness.display());
    let task = TaskId::new();
    run_and_forget(&bench, &numbered(task, 2, &script)).await;
    for restarts in [false, true] {
        if restarts {
            bench.restart();
        }
        for number in [1, 2] {
            let again = numbered(task, number, &script);
            assert_eq!(refusal(bench.launcher(), &again).await, "ATTEMPT_REPLAYED");
            assert_eq!(refusal(bench.launcher(), &too_late(again)).await, "ATTEMPT_REPLAYED");
        }
    }
    assert_eq!(bench.launcher().known(), [], "no trace is left");
    assert_eq!(std::fs::read_to_string(&witness).unwrap(), "ran\n");
    // A retry, another task, and a cloud that gives no numbers.
    for order in [
        numbered(task, 3, &script),
        numbered(TaskId::new(), 1, &script),
        numbered(task, 0, &script),
    ] {
        run_and_forget(&bench, &order).await;
    }
    assert_eq!(std::fs::read_to_string(&witness).unwrap(), "ran\n".repeat(4));
}

#[tokio::test]
async fn an_attempt_that_is_at_work_keeps_others_with_its_number_from_starting() {
    let bench = Bench::new();
    let gate = bench.folder.path().join("gate");
    let task = TaskId::new();
    let first = numbered(
        task,
        1,
        &format!("until test -e {}; do sleep 0.01; done", gate.display()),
    );
    bench.launcher().start(first.clone()).await.unwrap();
    let second = numbered(task, 1, "true");
    assert_eq!(refusal(bench.launcher(), &second).await, "ATTEMPT_REPLAYED");
    std::fs::write(gate, "").unwrap();
    bench.outcome(first.id).await;
}

#[tokio::test]
async fn what_could_not_be_started_is_told_so_again_and_its_number_may_be_used() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let task = TaskId::new();
    let order = numbered(task, 1, "true");
    let launcher = ProcessLauncher::open(&bench.state(), PathBuf::from("/nonexistent/agent")).unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&launcher, &order).await, "RUNNER_UNSTARTABLE");
    }
    drop(launcher);
    // Also by an agent that could start it: the cloud was told that it never will be.
    bench.restart();
    assert_eq!(refusal(bench.launcher(), &order).await, "RUNNER_UNSTARTABLE");
    assert_eq!(refusal(bench.launcher(), &too_late(order)).await, "RUNNER_UNSTARTABLE");
    assert_eq!(std::fs::read_dir(bench.state().attempts()).unwrap().count(), 0);
    let other = numbered(task, 1, "true");
    run_and_forget(&bench, &other).await;
}
