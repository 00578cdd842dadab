//! What goes on on a connection: which calls are open, since when, and since when there is none.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Calls>);

#[derive(Debug)]
struct Calls {
    next: u64,
    /// In the order in which they began.
    open: BTreeMap<u64, Times>,
    quiet: Quiet,
}

/// Of an open call.
#[derive(Debug, Clone, Copy)]
struct Times {
    began: Instant,
    /// Since when nothing more was taken of an answer that is here as a whole.
    untaken: Option<Instant>,
}

/// Marks an answer, in its extensions, that is here as a whole: how long it takes is up to whoever asked. One that goes on
/// by itself, such as a watch, has no such mark.
#[derive(Debug, Clone, Copy)]
pub struct Whole;

/// Since when nothing is open.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    since: Instant,
    had_a_call: bool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let quiet = Quiet {
            since: Instant::now(),
            had_a_call: false,
        };
        Arc::new(Self(Mutex::new(Calls {
            next: 0,
            open: BTreeMap::new(),
            quiet,
        })))
    }

    /// Counts a call until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let mut calls = self.lock();
        let number = calls.next;
        calls.next += 1;
        let times = Times {
            began: Instant::now(),
            untaken: None,
        };
        calls.open.insert(number, times);
        drop(calls);
        Call {
            activity: Arc::clone(self),
            number,
        }
    }

    /// Since when no call is open, and whether there ever was one; `None` while one is.
    pub(super) fn quiet_since(&self) -> Option<(Instant, bool)> {
        let calls = self.lock();
        calls
            .open
            .is_empty()
            .then_some((calls.quiet.since, calls.quiet.had_a_call))
    }

    /// When the oldest of the open calls began.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().open.values().next().map(|times| times.began)
    }

    /// Since when an answer that is here as a whole was not taken; of several, the one that waits the longest.
    pub(super) fn untaken(&self) -> Option<Instant> {
        self.lock().open.values().filter_map(|times| times.untaken).min()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open call.
#[derive(Debug)]
pub(super) struct Call {
    activity: Arc<Activity>,
    number: u64,
}

impl Call {
    /// The answer is here as a whole, or some of it was taken.
    fn waits(&self) {
        if let Some(times) = self.activity.lock().open.get_mut(&self.number) {
            times.untaken = Some(Instant::now());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.activity.lock();
        calls.open.remove(&self.number);
        calls.quiet = Quiet {
            since: Instant::now(),
            had_a_call: true,
        };
    }
}

/// The body of an answer; its call is open for as long as it lives.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    call: Call,
    is_whole: bool,
}

impl Answer {
    pub(super) fn new(response: Response<Body>, call: Call) -> Response<Self> {
        let is_whole = response.extensions().get::<Whole>().is_some();
        if is_whole {
            call.waits();
        }
        response.map(|body| Self { body, call, is_whole })
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(ctx));
        if self.is_whole {
            self.call.waits();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn, time::Duration};

    use futures::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_whole_waits_since_the_last_of_it_was_taken_and_a_watch_never() {
        let activity = Activity::new();
        let pieces = || {
            let pieces = ["one", "two"].map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
            Body::from_stream(stream::iter(pieces))
        };
        let watch = Answer::new(Response::new(pieces()), activity.begin());
        let mut whole = Response::new(pieces());
        whole.extensions_mut().insert(Whole);
        let mut whole = Answer::new(whole, activity.begin()).into_body();
        let began = Instant::now();
        assert_eq!(activity.untaken(), Some(began));
        tokio::time::advance(Duration::from_secs(60)).await;
        let taken = poll_fn(|ctx| http_body::Body::poll_frame(Pin::new(&mut whole), ctx)).await;
        assert!(taken.is_some());
        assert_eq!(activity.untaken(), Some(began + Duration::from_secs(60)));
        drop(whole);
        assert_eq!((activity.untaken(), activity.oldest()), (None, Some(began)));
        drop(watch);
    }
}
