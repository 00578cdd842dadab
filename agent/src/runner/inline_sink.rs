//! A sink that seals where it is called: for processes that hold many attempts. Its spool never blocks.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{event::Event, task::Outcome};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{conclude::Verdict, sealer::Sealer};
use crate::executor::Sink;

/// See the module. Whoever drives the attempt calls [`InlineSink::seal_due`] in time.
pub(super) struct InlineSink {
    sealer: Mutex<Option<Sealer>>,
    start: Instant,
    changed: Notify,
    broken: CancellationToken,
}

impl InlineSink {
    pub(super) fn new(sealer: Sealer, broken: CancellationToken) -> Self {
        Self {
            sealer: Mutex::new(Some(sealer)),
            start: Instant::now(),
            changed: Notify::new(),
            broken,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sealer>> {
        self.sealer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn push(&self, event: Event) {
        let mut sealer = self.lock();
        // Absent: the attempt is over, and an executor left something running that still talks.
        let Some(sealer) = sealer.as_mut() else { return };
        let before = sealer.due();
        sealer.push(event, self.now());
        if sealer.due() != before {
            self.changed.notify_one();
        }
        if sealer.is_broken() {
            self.broken.cancel();
        }
    }

    /// Closes chunks in time, for ever.
    pub(super) async fn seal_when_due(&self) -> Infallible {
        loop {
            let changed = self.changed.notified();
            let due = self.lock().as_ref().and_then(Sealer::due);
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(self.start + due) => self.flush(),
                    () = changed => {}
                },
            }
        }
    }

    /// Ends the stream of events; `None` when it had been ended.
    pub(super) fn finish(&self, verdict: Verdict) -> Option<Outcome> {
        self.lock().take().map(|sealer| sealer.finish(verdict))
    }
}

#[async_trait]
impl Sink for InlineSink {
    async fn emit(&self, event: Event) {
        self.push(event);
    }

    fn emit_blocking(&self, event: Event) {
        self.push(event);
    }

    fn flush(&self) {
        if let Some(sealer) = self.lock().as_mut() {
            sealer.seal(self.now());
        }
    }
}
