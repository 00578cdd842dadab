//! The runner has the last word.

use super::*;

/// An executor that does not listen does not keep its attempt open.
#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_given_up_after_its_grace() {
    let executors = scripted!(|ctx| {
        say(&*ctx.sink, "x\n").await;
        std::future::pending().await
    });
    let spool = Arc::new(MemorySpool::default());
    let (connections, theirs) = (Arc::new(Connections::default()), Arc::clone(&spool));
    let start = Instant::now();
    let timeout = Duration::from_secs(30);
    let task = envelope(fake(), timeout);
    let outcome = drive(task, &executors, connections, theirs, CancellationToken::new()).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_str()),
        (ExecutionState::Failed, "WORK_LEFT")
    );
    // Grace is one second.
    assert_eq!(start.elapsed(), timeout + Duration::from_secs(1 + 5));
    check_end(&outcome, &spool);
}

/// What is over is over, however long its output has to wait for the disk.
#[tokio::test(start_paused = true)]
async fn work_that_has_ended_is_not_given_up_while_its_output_waits() {
    let executors = scripted!(|ctx| {
        ctx.cancel.cancelled().await;
        ctx.settled.set();
        for _ in 0..64 {
            ctx.sink
                .emit(output(Stream::Stdout, vec![b'x'; 64 * 1024].into()))
                .await;
        }
        Ok(Finish::succeeded(None))
    });
    let gate = Arc::new(Gate::default());
    let (connections, theirs) = (Arc::new(Connections::default()), Arc::clone(&gate));
    let timeout = Duration::from_secs(30);
    let work = drive_with_thread(
        envelope(fake(), timeout),
        &executors,
        connections,
        theirs,
        CancellationToken::new(),
    );
    let opener = async {
        tokio::time::sleep(10 * timeout).await;
        *gate.open.lock().unwrap() = true;
        gate.changed.notify_all();
    };
    let (outcome, ()) = tokio::join!(work, opener);
    assert_eq!(outcome.state, ExecutionState::TimedOut, "{outcome:?}");
    assert_eq!(outcome.streams[0].bytes, 64 * 64 * 1024);
}
