//! A sink whose sealer has its own thread, so that reading a pipe and compressing what was read go on at the same time.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opslink::{
    event::{Event, EventBody},
    task::Outcome,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::{conclude::Verdict, sealer::Sealer};
use crate::executor::Sink;

/// Bytes that may wait for the sealer. It holds as much again. Enough for both to work undisturbed; more would only
/// leave the processor's cache.
const QUEUE_BYTES: usize = 1024 * 1024;

/// What an event costs beside its bytes.
const EVENT_OVERHEAD: usize = 64;

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    bytes: usize,
    flush: bool,
    finish: Option<(Verdict, oneshot::Sender<Outcome>)>,
    /// Nobody reads any more: the attempt is over.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    space: Condvar,
    space_async: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is plain data: a panic elsewhere leaves it usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the event back when there is no space.
    #[expect(
        clippy::result_large_err,
        reason = "the event itself comes back, to be offered again"
    )]
    fn try_push(&self, queue: &mut Queue, event: Event) -> Result<(), Event> {
        if queue.closed {
            return Ok(());
        }
        if queue.bytes >= QUEUE_BYTES {
            return Err(event);
        }
        queue.bytes += size(&event);
        queue.events.push(event);
        if queue.events.len() == 1 {
            self.work.notify_one();
        }
        Ok(())
    }
}

fn size(event: &Event) -> usize {
    EVENT_OVERHEAD
        + match &event.body {
            EventBody::Output { data, .. } => data.len(),
            EventBody::TableRows(rows) => rows
                .columns
                .iter()
                .map(|column| column.text.len() + 4 * column.lengths.len())
                .sum(),
            EventBody::TableHeader(_)
            | EventBody::StatementStart(_)
            | EventBody::StatementEnd(_)
            | EventBody::Note(_)
            | EventBody::Gap { .. }
            | EventBody::End(_) => 0,
        }
}

/// See the module. The thread ends with [`ThreadSink::finish`], or when the sink is dropped.
pub(super) struct ThreadSink {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ThreadSink {
    /// Starts the thread. `broken` fires when the spool refuses output for good.
    pub(super) fn start(sealer: Sealer, broken: CancellationToken) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("sealer".to_owned())
            .spawn(move || seal_until_end(&theirs, sealer, &broken))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the stream of events. `None` when the thread broke down.
    pub(super) async fn finish(&self, verdict: Verdict) -> Option<Outcome> {
        let (tx, rx) = oneshot::channel();
        self.shared.lock().finish = Some((verdict, tx));
        self.shared.work.notify_one();
        let outcome = rx.await.ok();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has answered or is dead: this waits for nothing.
            drop(thread.join());
        }
        outcome
    }
}

impl Drop for ThreadSink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

#[async_trait]
impl Sink for ThreadSink {
    async fn emit(&self, mut event: Event) {
        loop {
            let space = self.shared.space_async.notified();
            // Scope of the guard: never across an await.
            let pushed = {
                let mut queue = self.shared.lock();
                self.shared.try_push(&mut queue, event)
            };
            match pushed {
                Ok(()) => return,
                Err(back) => event = back,
            }
            space.await;
        }
    }

    fn emit_blocking(&self, mut event: Event) {
        let mut queue = self.shared.lock();
        while let Err(back) = self.shared.try_push(&mut queue, event) {
            event = back;
            queue = self.shared.space.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn flush(&self) {
        self.shared.lock().flush = true;
        self.shared.work.notify_one();
    }
}

/// Closes the queue however the thread ends, so that nobody waits for it for ever.
struct CloseOnExit<'a>(&'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        // Drops the sender: `finish` learns of it.
        queue.finish = None;
        drop(queue);
        self.0.space.notify_all();
        self.0.space_async.notify_waiters();
    }
}

fn seal_until_end(shared: &Shared, mut sealer: Sealer, broken: &CancellationToken) {
    let start = Instant::now();
    let _closer = CloseOnExit(shared);
    let mut batch = Vec::new();
    loop {
        let (flush, finish) = {
            let mut queue = wait_for_work(shared, sealer.due().map(|due| start + due));
            if queue.closed {
                return;
            }
            mem::swap(&mut batch, &mut queue.events);
            queue.bytes = 0;
            (mem::take(&mut queue.flush), queue.finish.take())
        };
        shared.space.notify_all();
        shared.space_async.notify_waiters();
        for event in batch.drain(..) {
            sealer.push(event, start.elapsed());
        }
        if let Some((verdict, answer)) = finish {
            answer.send(sealer.finish(verdict)).ok();
            return;
        }
        let now: Duration = start.elapsed();
        if flush || sealer.due().is_some_and(|due| due <= now) {
            sealer.seal(now);
        }
        if sealer.is_broken() {
            broken.cancel();
        }
    }
}

/// Sleeps until there is something to do, or `due`.
fn wait_for_work(shared: &Shared, due: Option<Instant>) -> MutexGuard<'_, Queue> {
    let idle = |queue: &mut Queue| queue.events.is_empty() && !queue.flush && queue.finish.is_none() && !queue.closed;
    let queue = shared.lock();
    match due {
        None => shared
            .work
            .wait_while(queue, idle)
            .unwrap_or_else(PoisonError::into_inner),
        Some(due) => {
            let left = due.saturating_duration_since(Instant::now());
            shared
                .work
                .wait_timeout_while(queue, left, idle)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        }
    }
}
