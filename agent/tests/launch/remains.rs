//! What is left when a runner dies, and what is read when an agent comes back.

use std::{fs, time::Duration};

use opslink::{id::AttemptId, pb};
use opslink_agent::{
    journal::AttemptDir,
    launch::{Launcher, Phase, ProcessLauncher},
    policy::Permit,
};

use crate::bench::{Bench, PROGRAM, kill_hard, wait_for};

/// Processes that belong to this attempt by their environment.
fn marked(id: AttemptId) -> Vec<u32> {
    let mark = format!("OPSLINK_ATTEMPT_ID={id}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()) {
            found.extend(entry.file_name().to_string_lossy().parse::<u32>());
        }
    }
    found
}

/// In the runner's session, out of it, and deaf to TERM.
const FAMILY: &str = "sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000; :' & echo up; wait";

#[tokio::test]
async fn the_processes_of_a_killed_runner_are_ended_and_named() {
    let bench = Bench::new();
    let id = bench.start(FAMILY).await;
    let runner = bench.runner_of(id).await;
    wait_for("the family", || (marked(id).len() >= 4).then_some(())).await;
    kill_hard(runner);
    let outcome = bench.outcome(id).await;
    assert_eq!(outcome.reason, "RUNNER_LOST");
    assert!(
        outcome.message.contains("were ended") && outcome.message.contains("sleep ("),
        "{}",
        outcome.message
    );
    assert_eq!(marked(id), [0; 0]);
}

#[tokio::test]
async fn they_are_ended_also_when_the_runner_died_while_the_agent_was_down() {
    let mut bench = Bench::new();
    let id = bench.start(FAMILY).await;
    let runner = bench.runner_of(id).await;
    wait_for("the family", || (marked(id).len() >= 4).then_some(())).await;
    bench.launcher = None;
    kill_hard(runner);
    bench.restart();
    let outcome = bench.outcome(id).await;
    assert!(outcome.message.contains("were ended"), "{}", outcome.message);
    assert_eq!(marked(id), [0; 0]);
}

/// Nobody is left who would hear the end of a runner that never dialed.
#[tokio::test]
async fn a_runner_that_died_with_the_fork_server_before_it_dialed_is_reported() {
    let bench = Bench::new();
    // Runners dial this name; it leads nowhere from now on.
    fs::remove_file(bench.state().socket()).unwrap();
    let id = bench.start("sleep 1000").await;
    let runner = bench.runner_of(id).await;
    let status = fs::read_to_string(format!("/proc/{runner}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    kill_hard(parent.trim().parse().unwrap());
    kill_hard(runner);
    assert_eq!(bench.outcome(id).await.reason, "RUNNER_LOST");
}

/// Bytes that this thread has read from files.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar:"));
    read.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn coming_back_reads_little_however_much_output_there_is() {
    const SEGMENTS: u64 = 12;
    let mut bench = Bench::new();
    bench.launcher = None;
    let id = AttemptId::new();
    let attempts = bench.state().attempts();
    let dir = AttemptDir::create(&attempts, id, &pb::SignedEnvelope::default(), &Permit::default()).unwrap();
    let (mut writer, _) = dir.writer().unwrap();
    for number in 0..SEGMENTS {
        // Each fills a segment of the journal.
        let chunk = pb::LogChunk {
            attempt_id: id.to_string(),
            first_seq: number,
            event_count: 1,
            payload: vec![7; 9 << 20].into(),
            ..Default::default()
        };
        writer.append_chunk(&chunk).unwrap();
    }
    drop(writer);
    let before = bytes_read();
    let launcher = ProcessLauncher::open(&bench.state(), PROGRAM.into()).unwrap();
    for _ in 0..3 {
        // What each redial asks.
        let known = launcher.known();
        assert_eq!((known[0].next_seq, known[0].phase), (SEGMENTS + 1, Phase::Ended));
    }
    let read = bytes_read() - before;
    assert!(read < 20 << 20, "{read} bytes were read");
    // Going on near the end passes over what the cloud has.
    let before = bytes_read();
    assert!(launcher.read(id, SEGMENTS - 1).unwrap().is_some());
    assert!(launcher.read(id, SEGMENTS).unwrap().unwrap().outcome.is_some());
    let read = bytes_read() - before;
    assert!(read < 20 << 20, "{read} bytes were read");
}

/// A runner that is stopped hears nothing; it must not keep its attempt for ever.
#[tokio::test]
async fn a_runner_that_does_not_hear_its_cancel_is_killed_with_all_it_started() {
    let bench = Bench::new();
    let id = bench.start("sleep 1000").await;
    let runner = bench.runner_of(id).await;
    wait_for("its process", || (!marked(id).is_empty()).then_some(())).await;
    let stop = std::process::Command::new("kill")
        .args(["-STOP", &runner.to_string()])
        .status();
    assert!(stop.unwrap().success());
    bench.launcher().cancel(id);
    let outcome = bench.outcome_within(id, Duration::from_secs(60)).await;
    assert_eq!(outcome.reason, "RUNNER_LOST");
    assert_eq!(marked(id), [0; 0]);
}
