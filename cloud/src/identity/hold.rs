//! The end of streams whose caller may not see them any more: one mechanism for all of them.
//!
//! A call is let in once, and its stream may live for hours. So each stream carries a [`Hold`], which looks again when
//! something was taken away here, and every two seconds for what was taken away elsewhere or has run out. A stream
//! that was ended says why, as the refusal of a new call would. Whether anybody reads it makes no difference: what waits
//! for the caller is let go, and so is the stream's place among those of its caller ([`super::streams`]).

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use opslink::{locale::Language, problem::Problem};
use tokio::task::AbortHandle;
use tonic::{Code, Status};

use super::{
    Gate,
    gate::Shown,
    streams::{Kept, OpenStream, StreamWeight},
};
use crate::{authz::Rpc, status::to_status};

/// Between two looks. With the two seconds that the gate trusts the store ([`super::cache`]) a stream ends within the
/// five that are promised.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches over one stream.
pub struct Hold {
    gate: Gate,
    rpc: Rpc,
    shown: Shown,
    kept: Kept,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").field("rpc", &self.rpc).finish_non_exhaustive()
    }
}

impl Hold {
    pub(super) fn new(gate: Gate, rpc: Rpc, shown: Shown) -> Self {
        Self {
            gate,
            rpc,
            shown,
            kept: Kept::default(),
        }
    }

    /// Keeps a place among the caller's streams, where the answer keeps it too.
    pub(super) fn counted(self, open: Arc<OpenStream>, kept: Kept) -> Self {
        kept.keep(open);
        Self { kept, ..self }
    }

    /// What makes the stream heavier that this is to hold.
    pub(crate) fn weight(&self) -> StreamWeight {
        self.kept.weight()
    }

    /// Passes a stream on until its caller may not see it any more.
    pub fn over<T, S>(mut self, stream: S) -> BoxStream<'static, Result<T, Status>>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, Status>> + Send + 'static,
    {
        let language = self.shown.language();
        let passed = Arc::new(Mutex::new(Passed {
            stream: Some(stream.boxed()),
            kept: mem::take(&mut self.kept),
            refused: None,
            reader: None,
        }));
        // Whoever drops the stream drops all of it at once.
        let taken_away = Arc::downgrade(&passed);
        // Ends with the stream, or once it has ended it.
        let guard = tokio::spawn(async move {
            let problem = self.refused().await;
            let Some(passed) = taken_away.upgrade() else { return };
            let (rest, reader) = lock(&passed).refuse(problem);
            drop(rest);
            if let Some(reader) = reader {
                reader.wake();
            }
        });
        Held {
            passed,
            guard: guard.abort_handle(),
            language,
        }
        .boxed()
    }

    /// Waits until the call would not be let in any more.
    async fn refused(self) -> Problem {
        let mut changes = self.gate.changes();
        loop {
            tokio::select! {
                // An error is impossible: the gate that sends is ours.
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.gate.still(self.rpc, &self.shown).await {
                Ok(()) => {}
                // What runs goes on while the database is away; new calls are refused then.
                Err(problem) if is_of_the_cloud(problem.reason.grpc()) => {}
                Err(problem) => return problem,
            }
        }
    }
}

fn is_of_the_cloud(code: Code) -> bool {
    !matches!(code, Code::Unauthenticated | Code::PermissionDenied)
}

/// What is passed on.
struct Passed<T> {
    stream: Option<BoxStream<'static, Result<T, Status>>>,
    /// Its place among those of its caller.
    kept: Kept,
    /// Why there is no more, until it was told.
    refused: Option<Problem>,
    /// Whoever waits for more.
    reader: Option<Waker>,
}

/// What a stream was and held, to be dropped where nobody waits for it.
type Rest<T> = (Option<BoxStream<'static, Result<T, Status>>>, Option<Arc<OpenStream>>);

impl<T> Passed<T> {
    fn refuse(&mut self, problem: Problem) -> (Rest<T>, Option<Waker>) {
        self.refused = Some(problem);
        ((self.stream.take(), self.kept.give_up()), self.reader.take())
    }
}

fn lock<T>(passed: &Mutex<Passed<T>>) -> MutexGuard<'_, Passed<T>> {
    passed.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Held<T> {
    passed: Arc<Mutex<Passed<T>>>,
    guard: AbortHandle,
    language: Language,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

impl<T> Stream for Held<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut passed = lock(&self.passed);
        // First: a stream that always has something must not outrun its end.
        if let Some(problem) = passed.refused.take() {
            return Poll::Ready(Some(Err(to_status(&problem, self.language))));
        }
        let Some(stream) = &mut passed.stream else {
            return Poll::Ready(None);
        };
        let next = stream.as_mut().poll_next(ctx);
        if next.is_pending() {
            passed.reader = Some(ctx.waker().clone());
        }
        next
    }
}
