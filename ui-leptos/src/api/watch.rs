//! Streams that survive: a live view opens its stream again, from where it was, until it is told to stop.

use std::{cell::RefCell, future::Future, time::Duration};

use futures::{
    FutureExt,
    future::{AbortHandle, abortable},
    pin_mut, select,
};
use gloo_timers::future::{TimeoutFuture, sleep};
use leptos::{prelude::*, task::spawn_local};

use super::{Answer, Failure, Messages};
use crate::dom;

/// The cloud sends a heartbeat every 15 s: after this long without a word the connection is dead.
const SILENCE_SECS: u32 = 40;
const SECOND: Duration = Duration::from_secs(1);
/// How long a tab that is not on screen listens. A browser has six connections to a plain port for all its tabs, and every
/// stream holds one.
const GLANCE_MS: f64 = 2_000.0;
/// How many seconds it rests then, before it listens again.
const REST_SECS: u32 = 20;
/// First and longest wait before another try.
const BACKOFF_MS: (u32, u32) = (300, 8_000);

/// How fresh a live view is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sync {
    /// Opening for the first time.
    Opening,
    /// What is shown is what is.
    Live,
    /// Nothing more will come.
    Ended,
    /// The connection is gone since then (microseconds since 1970); trying again.
    Lost(i64),
    /// The cloud said no.
    Refused(Failure),
}

/// What a message handler wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More.
    Continue,
    /// Open the stream again at once, with another request.
    Reopen,
}

/// Runs a future until the component that asked for it goes away.
pub(crate) fn spawn_scoped(future: impl Future<Output = ()> + 'static) -> AbortHandle {
    let (future, handle) = abortable(future);
    spawn_local(future.map(drop));
    let on_leave = handle.clone();
    on_cleanup(move || on_leave.abort());
    handle
}

/// Keeps a stream open. `open` is asked for a new one after every loss and resumes by what was seen so far;
/// `seen` takes each message. A stream that ends before it is `finished` was cut off, by a cloud that stops for example.
pub(crate) async fn keep_watching<M: prost::Message + Default, F>(
    sync: RwSignal<Sync>,
    mut open: impl FnMut() -> F,
    mut seen: impl FnMut(M) -> Next,
    finished: impl Fn() -> bool,
) where
    F: Future<Output = Answer<Messages<M>>>,
{
    let mut wait_ms = BACKOFF_MS.0;
    let mut opened_before = false;
    loop {
        let mut rest = if opened_before { REST_SECS } else { 0 };
        while rest > 0 && !dom::is_visible() {
            sleep(SECOND).await;
            rest -= 1;
        }
        let mut last = dom::now_us();
        match open().await {
            Ok(mut stream) => {
                sync.set(Sync::Live);
                opened_before = true;
                let mut on_screen = dom::tick_ms();
                let mut is_over = || {
                    let now = dom::tick_ms();
                    if dom::is_visible() {
                        on_screen = now;
                    }
                    now - on_screen > GLANCE_MS
                };
                let pace = Pace::new();
                loop {
                    let mut silent_secs = 0;
                    let message = {
                        // Dropped, it would lose what it has read.
                        let message = stream.message().fuse();
                        pin_mut!(message);
                        loop {
                            let second = sleep(SECOND).fuse();
                            pin_mut!(second);
                            select! { message = message => break Some(message), () = second => {} }
                            silent_secs += 1;
                            if silent_secs >= SILENCE_SECS || is_over() {
                                break None;
                            }
                        }
                    };
                    match message {
                        // What was there is seen: the connection is for others now.
                        None if silent_secs < SILENCE_SECS => break,
                        Some(Ok(Some(message))) => {
                            (last, wait_ms) = (dom::now_us(), BACKOFF_MS.0);
                            match seen(message) {
                                Next::Continue => {}
                                Next::Reopen => break,
                            }
                            if is_over() {
                                break;
                            }
                            pace.breathe().await;
                        }
                        Some(Ok(None)) if finished() => return sync.set(Sync::Ended),
                        Some(Ok(None)) | None => {
                            sync.set(Sync::Lost(last));
                            break;
                        }
                        Some(Err(failure)) => {
                            if failure.is_unreachable() {
                                sync.set(Sync::Lost(last));
                            } else {
                                sync.set(Sync::Refused(failure));
                            }
                            break;
                        }
                    }
                }
            }
            Err(failure) if failure.is_unreachable() => {
                if !matches!(sync.get_untracked(), Sync::Lost(_)) {
                    sync.set(Sync::Lost(last));
                }
            }
            Err(failure) => {
                let temporary = matches!(
                    failure.reason.as_str(),
                    "UNAUTHENTICATED" | "SESSION_EXPIRED" | "TOO_MANY_STREAMS"
                );
                sync.set(Sync::Refused(failure));
                if !temporary {
                    return;
                }
            }
        }
        if sync.get_untracked() != Sync::Live {
            // Full jitter: a cloud that comes back is not met by all tabs at once.
            TimeoutFuture::new((js_sys::Math::random() * f64::from(wait_ms)) as u32 + 50).await;
            wait_ms = (wait_ms * 2).min(BACKOFF_MS.1);
        }
    }
}

/// Gives the browser a turn when a loop has worked for most of a frame.
pub(crate) struct Pace(RefCell<f64>);

impl Pace {
    /// Starts now.
    pub(crate) fn new() -> Self {
        Self(RefCell::new(dom::tick_ms()))
    }

    /// Waits for a turn of the browser when it is time.
    pub(crate) async fn breathe(&self) {
        if dom::tick_ms() - *self.0.borrow() > 12.0 {
            TimeoutFuture::new(0).await;
            *self.0.borrow_mut() = dom::tick_ms();
        }
    }
}
