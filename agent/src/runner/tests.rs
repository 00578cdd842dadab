//! The core of the runner, with executors and spools made for the purpose.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use opslink::{
    chunk::{OUTPUT_MAX, SEAL_AFTER, SEAL_RAW_BYTES},
    event::{Event, EventBody, Stream},
    id::AttemptId,
    pb,
    task::{Action, ExecutionState, FakeSpec, Outcome},
    time::UnixMicros,
};
use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Spool, drive, drive_with_thread,
    testing::{MemorySpool, envelope},
};
use crate::{
    connections::Connections,
    executor::{Context, Executor, Failure, Finish, Health, Sink},
};

/// Does what a test's closure says, under the name of the fake executor.
struct Scripted<F>(F);

#[async_trait]
impl<F> Executor for Scripted<F>
where
    F: Fn(Context) -> BoxFuture<'static, Result<Finish, Failure>> + Send + Sync,
{
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    fn validate(&self, _action: &Action) -> Result<(), Failure> {
        Ok(())
    }

    async fn run(&self, _action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        (self.0)(ctx.clone()).await
    }
}

macro_rules! scripted {
    (|$ctx:ident| $body:expr) => {
        [Box::new(Scripted(
            |$ctx: Context| -> BoxFuture<'static, Result<Finish, Failure>> { Box::pin(async move { $body }) },
        )) as Box<dyn Executor>]
    };
}

fn fake() -> Action {
    Action::Fake(FakeSpec {
        steps: vec![opslink::task::FakeStep::Exit(0)],
    })
}

fn output(stream: Stream, data: Bytes) -> Event {
    Event {
        time_us: UnixMicros::now().0,
        body: EventBody::Output { stream, data },
    }
}

async fn say(sink: &dyn Sink, text: &'static str) {
    sink.emit(output(Stream::Stdout, Bytes::from_static(text.as_bytes())))
        .await;
}

async fn run_inline(
    executors: &[Box<dyn Executor>],
    timeout: Duration,
    cancel: CancellationToken,
) -> (Outcome, Arc<MemorySpool>) {
    let spool = Arc::new(MemorySpool::default());
    let (connections, theirs) = (Arc::new(Connections::default()), Arc::clone(&spool));
    let outcome = drive(envelope(fake(), timeout), executors, connections, theirs, cancel).await;
    (outcome, spool)
}

const LONG: Duration = Duration::from_secs(3600);

fn check_end(outcome: &Outcome, spool: &MemorySpool) {
    let chunks = spool.chunks();
    let (last, before) = chunks.split_last().expect("an attempt always ends with a chunk");
    assert_eq!(
        last.outcome,
        Some(outcome.clone().into()),
        "the last chunk has the outcome"
    );
    assert!(before.iter().all(|chunk| chunk.outcome.is_none()));
    assert_eq!(
        spool.events().pop().map(|event| event.body),
        Some(EventBody::End(outcome.clone()))
    );
    for digest in &outcome.streams {
        let bytes = spool.bytes(digest.stream);
        assert_eq!(digest.bytes, bytes.len() as u64);
        assert_eq!(digest.blake3, blake3::hash(&bytes).as_bytes()[..]);
    }
    assert_eq!(outcome.streams.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_in_are_bytes_out_however_they_are_cut(
        pieces in prop::collection::vec((any::<bool>(), 0usize..200_000, any::<u8>()), 0..24),
        with_thread in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pieces: Vec<(Stream, Bytes)> = pieces.into_iter().enumerate().map(|(at, (err, len, seed))| {
            let stream = if err { Stream::Stderr } else { Stream::Stdout };
            (stream, (0..len).map(|i| (i * 31 + at) as u8 ^ seed).collect())
        }).collect();
        let expected = |wanted: Stream| -> Vec<u8> {
            pieces.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, data)| data.to_vec()).collect()
        };
        let to_emit = pieces.clone();
        let executors = [Box::new(Scripted(move |ctx: Context| -> BoxFuture<'static, Result<Finish, Failure>> {
            let to_emit = to_emit.clone();
            Box::pin(async move {
                for (stream, data) in to_emit {
                    ctx.sink.emit(output(stream, data)).await;
                }
                Ok(Finish::succeeded(Some(0)))
            })
        })) as Box<dyn Executor>];
        let spool = Arc::new(MemorySpool::default());
        let (task, connections, theirs) = (envelope(fake(), LONG), Arc::new(Connections::default()), Arc::clone(&spool));
        let outcome = runtime.block_on(async {
            let cancel = CancellationToken::new();
            match with_thread {
                true => drive_with_thread(task, &executors, connections, theirs, cancel).await,
                false => drive(task, &executors, connections, theirs, cancel).await,
            }
        });
        prop_assert_eq!(outcome.state, ExecutionState::Succeeded);
        prop_assert_eq!(spool.bytes(Stream::Stdout), expected(Stream::Stdout));
        prop_assert_eq!(spool.bytes(Stream::Stderr), expected(Stream::Stderr));
        for chunk in spool.chunks() {
            prop_assert!(chunk.raw_size as usize <= SEAL_RAW_BYTES + OUTPUT_MAX + 1024, "{}", chunk.raw_size);
        }
        check_end(&outcome, &spool);
    }
}

#[tokio::test(start_paused = true)]
async fn output_leaves_within_20_ms_and_at_once_after_a_silence() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "first\n").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        say(&*ctx.sink, "second\n").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        say(&*ctx.sink, "third, with the second\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        say(&*ctx.sink, "after a silence\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Finish::succeeded(None))
    });
    let start = Instant::now();
    let (outcome, spool) = run_inline(&executors, LONG, CancellationToken::new()).await;
    let after: Vec<u128> = spool.times().iter().map(|time| (*time - start).as_millis()).collect();
    let [first, second, late, end] = after[..] else {
        panic!("four chunks, got {after:?}")
    };
    assert!(first <= 4, "{after:?}");
    assert!((20..=5 + SEAL_AFTER.as_millis() + 2).contains(&second), "{after:?}");
    assert!((1015..=1020).contains(&late), "{after:?}");
    assert!(end >= 2015, "{after:?}");
    check_end(&outcome, &spool);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_says_a_line_and_ends_is_one_chunk() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "hi\n").await;
        Ok(Finish::succeeded(Some(0)))
    });
    let (outcome, spool) = run_inline(&executors, LONG, CancellationToken::new()).await;
    assert_eq!(spool.chunks().len(), 1);
    check_end(&outcome, &spool);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_work_and_names_the_outcome() {
    let executors = scripted!(|ctx| {
        ctx.cancel.cancelled().await;
        Ok(Finish {
            signal: Some(15),
            ..Finish::succeeded(None)
        })
    });
    let start = Instant::now();
    let (outcome, spool) = run_inline(&executors, Duration::from_secs(7), CancellationToken::new()).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!((outcome.state, outcome.signal), (ExecutionState::TimedOut, Some(15)));
    assert_eq!(outcome.reason, "TIMED_OUT");
    check_end(&outcome, &spool);
}

#[tokio::test]
async fn a_cancel_reaches_the_executor_and_one_before_the_start_runs_nothing() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "started\n").await;
        ctx.cancel.cancelled().await;
        Ok(Finish::succeeded(None))
    });
    let cancel = CancellationToken::new();
    let canceler = async {
        tokio::task::yield_now().await;
        cancel.cancel();
    };
    let ((outcome, spool), ()) = tokio::join!(run_inline(&executors, LONG, cancel.clone()), canceler);
    assert_eq!(outcome.state, ExecutionState::Canceled);
    assert_eq!(spool.bytes(Stream::Stdout), b"started\n");

    let (outcome, spool) = run_inline(&executors, LONG, cancel).await;
    assert_eq!(outcome.state, ExecutionState::Canceled);
    assert_eq!(spool.bytes(Stream::Stdout), b"");
    check_end(&outcome, &spool);
}

#[tokio::test(start_paused = true)]
async fn an_end_of_its_own_wins_over_a_deadline_that_comes_while_output_is_delivered() {
    let executors = scripted!(|ctx| {
        ctx.settled.set();
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok(Finish::succeeded(Some(0)))
    });
    let (outcome, _) = run_inline(&executors, Duration::from_secs(5), CancellationToken::new()).await;
    assert_eq!((outcome.state, outcome.exit_code), (ExecutionState::Succeeded, Some(0)));
}

#[tokio::test]
async fn a_panic_is_an_outcome() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "so far\n").await;
        assert!(ctx.cancel.is_cancelled(), "boom");
        Ok(Finish::succeeded(None))
    });
    let (outcome, spool) = run_inline(&executors, LONG, CancellationToken::new()).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_str()),
        (ExecutionState::Failed, "INTERNAL")
    );
    assert!(outcome.message.contains("boom"), "{}", outcome.message);
    assert_eq!(spool.bytes(Stream::Stdout), b"so far\n");
    check_end(&outcome, &spool);
}

#[tokio::test]
async fn a_task_without_action_or_executor_is_refused_with_a_reason() {
    let spool = Arc::new(MemorySpool::default());
    let task = pb::TaskEnvelope {
        attempt_id: AttemptId::new().to_string(),
        ..Default::default()
    };
    let (connections, theirs) = (Arc::new(Connections::default()), Arc::clone(&spool));
    let outcome = drive(task, &[], connections, theirs, CancellationToken::new()).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_str()),
        (ExecutionState::Refused, "INVALID_ARGUMENT")
    );
    check_end(&outcome, &spool);

    let (outcome, _) = run_inline(&[], LONG, CancellationToken::new()).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_str()),
        (ExecutionState::Refused, "EXECUTOR_ABSENT")
    );
}

/// Blocks every append until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    inner: MemorySpool,
    appended: AtomicU64,
}

impl Spool for Gate {
    fn append(&self, chunk: pb::LogChunk) -> io::Result<()> {
        drop(
            self.changed
                .wait_while(self.open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
        self.appended.fetch_add(1, Ordering::SeqCst);
        self.inner.append(chunk)
    }
}

#[tokio::test]
async fn a_spool_that_is_full_stops_the_executor_and_loses_nothing() {
    static EMITTED: AtomicU64 = AtomicU64::new(0);
    const PIECES: u64 = 512;
    let executors = scripted!(|ctx| {
        for _ in 0..PIECES {
            ctx.sink
                .emit(output(Stream::Stdout, vec![b'x'; 64 * 1024].into()))
                .await;
            EMITTED.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Finish::succeeded(None))
    });
    let gate = Arc::new(Gate::default());
    let (connections, theirs) = (Arc::new(Connections::default()), Arc::clone(&gate));
    let work = drive_with_thread(
        envelope(fake(), LONG),
        &executors,
        connections,
        theirs,
        CancellationToken::new(),
    );
    let opener = async {
        // Stable for 100 ms: the executor waits.
        let mut seen = (0, Instant::now());
        while seen.1.elapsed() < Duration::from_millis(100) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = EMITTED.load(Ordering::SeqCst);
            if now != seen.0 {
                seen = (now, Instant::now());
            }
        }
        assert!((1..100).contains(&seen.0), "{} pieces were taken without space", seen.0);
        *gate.open.lock().unwrap() = true;
        gate.changed.notify_all();
    };
    let (outcome, ()) = tokio::join!(work, opener);
    assert_eq!(outcome.streams[0].bytes, PIECES * 64 * 1024);
    check_end(&outcome, &gate.inner);
}

struct Broken;

impl Spool for Broken {
    fn append(&self, _chunk: pb::LogChunk) -> io::Result<()> {
        Err(io::Error::other("gone"))
    }
}

#[tokio::test]
async fn work_whose_output_cannot_be_kept_is_ended() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "x\n").await;
        ctx.cancel.cancelled().await;
        Ok(Finish::succeeded(None))
    });
    let connections = Arc::new(Connections::default());
    let work = drive_with_thread(
        envelope(fake(), LONG),
        &executors,
        connections,
        Arc::new(Broken),
        CancellationToken::new(),
    );
    let outcome = tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .expect("it ends");
    assert_eq!(
        (outcome.state, outcome.reason.as_str()),
        (ExecutionState::Failed, "SPOOL_FULL")
    );
}

#[path = "give_up_tests.rs"]
mod give_up;
