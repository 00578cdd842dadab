//! A body that comes in: for how long, how large, and what it takes of its caller's room.
//!
//! Nothing of a known caller's body is read before there is room for its first 64 KiB, and no more than those before
//! there is room for all that its message says it has. What found no room stays with the sender: HTTP/2 holds it back.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use opslink::{locale::Language, problem::Problem, reason::Reason};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    headers::Turn,
    room::{Held, Share},
};
use crate::status::to_status;

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest silence.
    silence: Duration,
    /// Longest time in all.
    whole: Duration,
}

/// A login has some hundred bytes.
pub(super) const ANYBODY: Patience = Patience {
    silence: Duration::from_secs(10),
    whole: Duration::from_secs(10),
};
/// A script of 512 KiB over a bad line.
pub(super) const KNOWN: Patience = Patience {
    silence: Duration::from_secs(20),
    whole: Duration::from_secs(120),
};
/// Reflection is a conversation.
pub(super) const CONVERSATION: Patience = Patience {
    silence: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};

/// What is taken before a body is read: one frame of HTTP/2, which most bodies are smaller than.
const FIRST: usize = 64 << 10;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the request of one call holds of its caller's room; until its handler has answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Tab(Arc<Mutex<Vec<Held>>>);

impl Tab {
    fn add(&self, held: Held) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    }

    fn bytes(&self) -> usize {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(Held::bytes).sum()
    }

    fn shrink(&self, bytes: usize) {
        let mut left = bytes;
        for held in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            held.shrink(left);
            left = left.saturating_sub(held.bytes());
        }
    }
}

/// What one caller's bodies may take.
#[derive(Clone)]
pub(super) struct Shares {
    /// Of the beginnings.
    pub(super) first: Arc<Share>,
    /// Of all that comes after them.
    pub(super) rest: Arc<Share>,
}

/// Measures the body of a known caller.
pub(super) struct Measure {
    shares: Shares,
    tab: Tab,
    /// Largest message.
    max: usize,
    has_begun: bool,
    prefix: Vec<u8>,
    seen: usize,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Held>> + Send>>>,
    /// Is here, and waits for room for the rest of its message.
    frame: Option<Frame<Bytes>>,
}

impl Measure {
    pub(super) fn new(shares: Shares, tab: Tab, max: usize) -> Self {
        Self {
            shares,
            tab,
            max,
            has_begun: false,
            prefix: Vec::with_capacity(PREFIX),
            seen: 0,
            waiting: None,
            frame: None,
        }
    }

    /// Takes so many bytes now, or begins to wait for them.
    fn want(&mut self, share: &Arc<Share>, bytes: usize) {
        match share.try_take(bytes) {
            Some(held) => self.tab.add(held),
            None => self.waiting = Some(Box::pin(Arc::clone(share).take(bytes))),
        }
    }

    /// Waits until there is room for what is to be read; false when there is none.
    fn poll_room(&mut self, ctx: &mut Context<'_>) -> Poll<bool> {
        if !self.has_begun {
            self.has_begun = true;
            let first = Arc::clone(&self.shares.first);
            self.want(&first, FIRST.min(self.max + PREFIX));
        }
        let Some(waiting) = &mut self.waiting else {
            return Poll::Ready(true);
        };
        let held = ready!(waiting.as_mut().poll(ctx));
        self.waiting = None;
        let has_room = held.is_some();
        if let Some(held) = held {
            self.tab.add(held);
        }
        Poll::Ready(has_room)
    }

    /// Counts what has come.
    fn count(&mut self, data: &[u8]) -> Result<(), Problem> {
        let missing = PREFIX - self.prefix.len();
        self.prefix.extend(data.iter().take(missing));
        self.seen += data.len();
        let message = match self.prefix.as_slice() {
            [_, length @ ..] => length.try_into().map_or(0, u32::from_be_bytes),
            [] => 0,
        };
        let message = usize::try_from(message).unwrap_or(usize::MAX);
        let whole = message.saturating_add(PREFIX).max(self.seen);
        if whole > self.max + PREFIX {
            let size = message.max(self.seen.saturating_sub(PREFIX));
            return Err(Problem::new(Reason::MessageTooLarge)
                .with("size", size)
                .with("limit", self.max));
        }
        let has = self.tab.bytes();
        if whole > has {
            // All that is still to come, at once: who has it waits for nothing more.
            let rest = Arc::clone(&self.shares.rest);
            self.want(&rest, whole - has);
        }
        Ok(())
    }

    /// Gives back what was taken and is not needed.
    fn end(&self) {
        self.tab.shrink(self.seen);
    }
}

/// A body that ends with an error when it takes too long, or too much.
pub(super) struct Impatient {
    body: Body,
    turn: Option<Arc<Turn>>,
    measure: Option<Measure>,
    patience: Patience,
    language: Language,
    began: Instant,
    /// Only once there is something to wait for: most bodies are here at once.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    pub(super) fn new(
        body: Body,
        patience: Patience,
        turn: Option<Arc<Turn>>,
        measure: Option<Measure>,
        language: Language,
    ) -> Self {
        Self {
            body,
            turn,
            measure,
            patience,
            language,
            began: Instant::now(),
            limit: None,
        }
    }

    fn too_slow(&self) -> Problem {
        let seconds = self.began.elapsed().as_secs();
        Problem::new(Reason::BodyTooSlow).with("seconds", seconds)
    }

    /// What has come is given up together with the call.
    fn give_up(&mut self, problem: &Problem) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.turn = None;
        self.measure = None;
        self.body = Body::empty();
        Poll::Ready(Some(Err(to_status(problem, self.language).into())))
    }

    /// There is no more.
    fn end(&mut self) {
        self.turn = None;
        if let Some(measure) = &self.measure {
            measure.end();
        }
    }
}

impl http_body::Body for Impatient {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(measure) = &mut this.measure {
                if !ready!(measure.poll_room(ctx)) {
                    return this.give_up(&Reason::Overloaded.into());
                }
                if let Some(frame) = measure.frame.take() {
                    if this.body.is_end_stream() {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            match Pin::new(&mut this.body).poll_frame(ctx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.limit = None;
                    let Some(measure) = &mut this.measure else {
                        return Poll::Ready(Some(Ok(frame)));
                    };
                    let counted = frame.data_ref().map_or(Ok(()), |data| measure.count(data));
                    if let Err(problem) = counted {
                        return this.give_up(&problem);
                    }
                    // Passed on above, once there is room for what belongs to it.
                    measure.frame = Some(frame);
                }
                Poll::Ready(Some(Err(error))) => {
                    this.end();
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let patience = this.patience;
                    let whole = this.began + patience.whole;
                    let limit = this.limit.get_or_insert_with(|| {
                        let silence = Instant::now() + patience.silence;
                        Box::pin(sleep_until(silence.min(whole)))
                    });
                    ready!(limit.as_mut().poll(ctx));
                    let problem = this.too_slow();
                    return this.give_up(&problem);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let waits = self.measure.as_ref().is_some_and(|measure| measure.frame.is_some());
        !waits && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.measure {
            // A frame may be here already.
            Some(_) => http_body::SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
