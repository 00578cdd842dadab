//! What every executor of [`super::all`] must do alike. What each is tried with is in its own folder.

use std::{fs, sync::Arc, time::Duration};

use opslink::{
    event::Stream,
    kind::{Action, Kind},
    task::{ExecutionState, Outcome},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::all;
use crate::{
    connections::{Connection, Connections},
    runner::{
        drive_with_thread,
        testing::{MemorySpool, envelope, wait_for},
    },
};

/// A kind whose executor is tried.
pub(super) trait Sampled: Kind {
    /// Makes the actions.
    fn sample() -> Sample;
}

/// The actions that an executor is tried with.
pub(super) struct Sample {
    /// Says something, then runs until it is ended.
    pub(super) endless: Action,
    /// Is refused before anything runs.
    pub(super) bad: Action,
    /// Fails, by its own end or by the executor's.
    pub(super) failing: Action,
    /// Writes these bytes to stdout; `None` for executors whose results are no bytes.
    pub(super) raw: Option<(Action, Vec<u8>)>,
}

/// NUL, invalid UTF-8, escape sequences, all line ends, then one long line without end.
pub(super) fn awkward_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    bytes.extend_from_slice(b"\r\n\x1b[2J\xff\xfe\0\n");
    bytes.extend(std::iter::repeat_n(b'x', 200_000));
    bytes
}

macro_rules! samples {
    ($($(#[$about:meta])* $arm:ident($spec:ident),)+) => {
        fn sample(kind: &str) -> Sample {
            $(if kind == <opslink::kind::$spec as Kind>::NAME {
                return <opslink::kind::$spec as Sampled>::sample();
            })+
            panic!("no kind is called `{kind}`")
        }
    };
}

opslink::kinds!(samples);

async fn run(kind: &str, action: Action, timeout: Duration) -> (Outcome, Arc<MemorySpool>) {
    let spool = Arc::new(MemorySpool::default());
    (
        run_into(&spool, kind, action, timeout, CancellationToken::new()).await,
        spool,
    )
}

async fn run_into(
    spool: &Arc<MemorySpool>,
    kind: &str,
    action: Action,
    timeout: Duration,
    cancel: CancellationToken,
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("empty.db");
    fs::write(&database, "").unwrap();
    let connection = Connection::new("main", format!("sqlite://{}", database.display())).unwrap();
    let connections = Arc::new(Connections::new(vec![connection]).unwrap());
    let (executors, theirs) = (all(), Arc::clone(spool));
    let work = drive_with_thread(envelope(action, timeout), &executors, connections, theirs, cancel);
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| panic!("{kind} does not end"))
}

/// Runs the endless sample, cancels it once it has said something, and returns how long the end took.
async fn cancel_when_up(kind: &str) -> (Outcome, Duration) {
    let spool = Arc::new(MemorySpool::default());
    let cancel = CancellationToken::new();
    let canceler = async {
        wait_for("the first chunk", || !spool.chunks().is_empty()).await;
        cancel.cancel();
        Instant::now()
    };
    let work = async {
        let outcome = run_into(&spool, kind, sample(kind).endless, LONG, cancel.clone()).await;
        (outcome, Instant::now())
    };
    let ((outcome, ended), asked) = tokio::join!(work, canceler);
    (outcome, ended - asked)
}

fn kinds() -> Vec<&'static str> {
    let kinds: Vec<_> = all().iter().map(|executor| executor.kind()).collect();
    assert!(kinds.contains(&"shell"));
    kinds
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn every_kind_has_one_executor_that_refuses_actions_of_others() {
    let kinds = kinds();
    assert!(
        opslink::kind::NAMES.iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
    for executor in all() {
        assert_eq!(kinds.iter().filter(|kind| **kind == executor.kind()).count(), 1);
        for other in kinds.iter().filter(|kind| **kind != executor.kind()) {
            assert!(
                executor.validate(&sample(other).failing).is_err(),
                "{} takes {other}",
                executor.kind()
            );
        }
    }
}

#[tokio::test]
async fn a_bad_spec_is_refused_with_a_reason_and_nothing_runs() {
    for kind in kinds() {
        let (outcome, spool) = run(kind, sample(kind).bad, LONG).await;
        assert_eq!(outcome.state, ExecutionState::Refused, "{kind}");
        assert!(
            !outcome.reason.is_empty() && outcome.reason.chars().all(|c| c.is_ascii_uppercase() || c == '_'),
            "{kind}"
        );
        assert!(!outcome.message.is_empty(), "{kind}");
        assert_eq!(spool.events().len(), 1, "{kind}: only the end");
    }
}

#[tokio::test]
async fn a_failure_is_an_outcome_with_a_reason() {
    for kind in kinds() {
        let (outcome, _) = run(kind, sample(kind).failing, LONG).await;
        assert_eq!(outcome.state, ExecutionState::Failed, "{kind}");
        assert!(!outcome.reason.is_empty() && !outcome.message.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn a_cancel_ends_the_work_within_its_grace() {
    for kind in kinds() {
        let (outcome, took) = cancel_when_up(kind).await;
        assert_eq!(outcome.state, ExecutionState::Canceled, "{kind}");
        assert!(took < Duration::from_secs(2), "{kind} took {took:?}");
    }
}

#[tokio::test]
async fn the_deadline_ends_the_work() {
    for kind in kinds() {
        let start = Instant::now();
        let (outcome, _) = run(kind, sample(kind).endless, Duration::from_secs(1)).await;
        assert_eq!(outcome.state, ExecutionState::TimedOut, "{kind}");
        assert!(
            (1..3).contains(&start.elapsed().as_secs()),
            "{kind} took {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn bytes_pass_unchanged_and_in_order() {
    for kind in kinds() {
        let Some((action, expected)) = sample(kind).raw else {
            continue;
        };
        let (outcome, spool) = run(kind, action, LONG).await;
        assert_eq!(outcome.state, ExecutionState::Succeeded, "{kind}");
        assert!(spool.bytes(Stream::Stdout) == expected, "{kind} changed bytes");
        assert_eq!(
            outcome.streams[0].blake3,
            blake3::hash(&expected).as_bytes()[..],
            "{kind}"
        );
    }
}

/// Names of the threads of this process that an attempt may have made.
fn own_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("sealer") || name.starts_with("run-as"))
        .collect()
}

#[tokio::test]
async fn nothing_is_left_behind() {
    // Other tests run at the same time: what counts is that nothing of these attempts stays, so it is waited for.
    for kind in kinds() {
        cancel_when_up(kind).await;
    }
    wait_for("the threads of these attempts to end", || own_threads().is_empty()).await;
}
