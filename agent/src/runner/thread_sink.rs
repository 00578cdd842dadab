//! A sink whose sealer has its own thread, so that reading a pipe and compressing what was read go on at the same time.
//!
//! Most attempts say little and end at once: they get no thread. It is started when there is much output, when the first of it
//! has waited for a moment, or when somebody wants it to leave; what ends before that is sealed by whoever ends it.

use std::{
    convert::Infallible,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opslink::{
    event::{Event, EventBody, RowPiece, TableRows},
    task::Outcome,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    conclude::Verdict,
    sealer::{SEAL_AFTER_SILENCE, Sealer},
};
use crate::executor::Sink;

/// Bytes that may wait for the sealer. It holds as much again. Enough for both to work undisturbed; more would only
/// leave the processor's cache.
const QUEUE_BYTES: usize = 1024 * 1024;

/// Bytes from which on a thread is worth its start.
const THREAD_FROM_BYTES: usize = 32 * 1024;

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
    /// Until it has a thread.
    sealer: Option<Sealer>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    space: Condvar,
    space_async: Notify,
    /// There is something to seal, and no thread yet.
    begun: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is plain data: a panic elsewhere leaves it usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the event back when there is no space. Says whether there is so much now that a thread is missing.
    #[expect(
        clippy::result_large_err,
        reason = "the event itself comes back, to be offered again"
    )]
    fn try_push(&self, queue: &mut Queue, event: Event) -> Result<bool, Event> {
        if queue.closed {
            return Ok(false);
        }
        if queue.bytes >= QUEUE_BYTES {
            return Err(event);
        }
        queue.bytes += size(&event);
        queue.events.push(event);
        if queue.events.len() == 1 {
            match &queue.sealer {
                Some(_) => self.begun.notify_one(),
                None => self.work.notify_one(),
            }
        }
        Ok(queue.sealer.is_some() && queue.bytes >= THREAD_FROM_BYTES)
    }
}

fn size(event: &Event) -> usize {
    EVENT_OVERHEAD
        + match &event.body {
            EventBody::Output { data, .. } => data.len(),
            EventBody::TableRows(TableRows { columns, .. }) | EventBody::RowPiece(RowPiece { columns, .. }) => columns
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
    broken: CancellationToken,
}

impl ThreadSink {
    /// Starts without a thread. `broken` fires when the spool refuses output for good, or no thread can be started.
    pub(super) fn new(sealer: Sealer, broken: CancellationToken) -> Self {
        let shared = Shared::default();
        shared.lock().sealer = Some(sealer);
        Self {
            shared: Arc::new(shared),
            thread: Mutex::new(None),
            broken,
        }
    }

    /// Starts the thread when output has waited for it for a moment. Never returns.
    pub(super) async fn start_when_due(&self) -> Infallible {
        loop {
            self.shared.begun.notified().await;
            tokio::time::sleep(SEAL_AFTER_SILENCE).await;
            self.start();
        }
    }

    fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() || self.shared.lock().sealer.is_none() {
            return;
        }
        let (theirs, broken) = (Arc::clone(&self.shared), self.broken.clone());
        let started = thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            let sealer = theirs.lock().sealer.take();
            if let Some(sealer) = sealer {
                seal_until_end(&theirs, sealer, &broken);
            }
        });
        match started {
            Ok(started) => *thread = Some(started),
            // The work is ended, and what it has said is sealed at its end.
            Err(_) => self.broken.cancel(),
        }
    }

    /// Ends the stream of events. `None` when the thread broke down.
    pub(super) async fn finish(&self, verdict: Verdict) -> Option<Outcome> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else {
            return self.finish_here(verdict);
        };
        let (tx, rx) = oneshot::channel();
        self.shared.lock().finish = Some((verdict, tx));
        self.shared.work.notify_one();
        let outcome = rx.await.ok();
        // It has answered or is dead: this waits for nothing.
        drop(thread.join());
        outcome
    }

    fn finish_here(&self, verdict: Verdict) -> Option<Outcome> {
        let mut queue = self.shared.lock();
        let (mut sealer, events) = (queue.sealer.take()?, mem::take(&mut queue.events));
        // Whoever still talks is not heard, and waits for nothing.
        queue.closed = true;
        drop(queue);
        self.shared.space.notify_all();
        self.shared.space_async.notify_waiters();
        for event in events {
            sealer.push(event, Duration::ZERO);
        }
        Some(sealer.finish(verdict))
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
                Ok(is_much) => {
                    if is_much {
                        self.start();
                    }
                    return;
                }
                Err(back) => event = back,
            }
            space.await;
        }
    }

    fn emit_blocking(&self, mut event: Event) {
        let mut queue = self.shared.lock();
        let is_much = loop {
            match self.shared.try_push(&mut queue, event) {
                Ok(is_much) => break is_much,
                Err(back) => event = back,
            }
            queue = self.shared.space.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        if is_much {
            self.start();
        }
    }

    fn flush(&self) {
        self.shared.lock().flush = true;
        self.start();
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
