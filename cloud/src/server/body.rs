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

/// Measures the body of a known caller.
pub(super) struct Measure {
    share: Arc<Share>,
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
    pub(super) fn new(share: Arc<Share>, tab: Tab, max: usize) -> Self {
        Self {
            share,
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
    fn want(&mut self, bytes: usize) {
        match self.share.try_take(bytes) {
            Some(held) => self.tab.add(held),
            None => self.waiting = Some(Box::pin(Arc::clone(&self.share).take(bytes))),
        }
    }

    /// Waits until there is room for what is to be read; false when there is none.
    fn poll_room(&mut self, ctx: &mut Context<'_>) -> Poll<bool> {
        if !self.has_begun {
            self.has_begun = true;
            self.want(FIRST.min(self.max + PREFIX));
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
            self.want(whole - has);
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
mod tests {
    use std::{convert::Infallible, future::poll_fn};

    use futures::{Stream, StreamExt, stream};

    use super::{super::room::Room, *};

    const MAX: usize = 2 << 20;
    /// A message that has two megabytes of room, with what stands before it.
    const LARGE: u32 = (2 << 20) - 64;

    fn body(share: &Arc<Share>, tab: &Tab, frames: impl Stream<Item = Bytes> + Send + 'static) -> Impatient {
        let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
        let measure = Measure::new(Arc::clone(share), tab.clone(), MAX);
        Impatient::new(body, KNOWN, None, Some(measure), Language::En)
    }

    /// The beginning of a message of so many bytes.
    fn begun(message: u32, here: usize) -> Bytes {
        let mut bytes = vec![0];
        bytes.extend(message.to_be_bytes());
        bytes.resize(PREFIX + here, b'x');
        bytes.into()
    }

    async fn next(body: &mut Impatient) -> Option<Result<usize, String>> {
        let frame = poll_fn(|ctx| http_body::Body::poll_frame(Pin::new(&mut *body), ctx)).await?;
        let frame = frame.map(|frame| frame.into_data().map_or(0, |data| data.len()));
        Some(frame.map_err(|error| error.to_string()))
    }

    /// R4: a hundred such bodies of a viewer, on each of its connections, were read as far as they came.
    #[tokio::test(start_paused = true)]
    async fn of_bodies_without_an_end_as_many_are_read_as_an_actor_has_room_for() {
        let room = Room::new();
        let share = room.share("token:a");
        let mut open = Vec::new();
        for _ in 0..8 {
            let tab = Tab::default();
            let frames = stream::iter([begun(LARGE, 100)]).chain(stream::pending());
            let mut body = body(&share, &tab, frames);
            assert_eq!(next(&mut body).await, Some(Ok(105)));
            open.push((body, tab));
        }
        let kept: usize = open.iter().map(|(_, tab)| tab.bytes()).sum();
        assert!(kept <= 16 << 20, "{kept}");
        // The ninth finds no room for all of its message, and is given up.
        let tab = Tab::default();
        let mut ninth = body(&share, &tab, stream::iter([begun(LARGE, 100)]));
        assert!(next(&mut ninth).await.unwrap().is_err());
        // Somebody else's passes meanwhile, and so does his own once they are given up.
        let other = room.share("token:b");
        let mut others = body(&other, &Tab::default(), stream::iter([begun(512 << 10, 512 << 10)]));
        assert_eq!(next(&mut others).await, Some(Ok(PREFIX + (512 << 10))));
        for (mut body, _) in open {
            assert!(next(&mut body).await.unwrap().is_err(), "too slow");
        }
        let mut own = body(&share, &Tab::default(), stream::iter([begun(100, 100)]));
        assert_eq!(next(&mut own).await, Some(Ok(105)));
        assert_eq!(next(&mut own).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_holds_what_it_has_until_its_handler_answered_and_no_more_than_it_may_have() {
        let room = Room::new();
        let share = room.share("token:a");
        let tab = Tab::default();
        // The prefix in pieces.
        let whole = begun(3_000, 3_000);
        let frames = stream::iter([whole.slice(..2), whole.slice(2..)]);
        let mut pieces = body(&share, &tab, frames);
        assert_eq!(next(&mut pieces).await, Some(Ok(2)));
        assert_eq!(next(&mut pieces).await, Some(Ok(3_003)));
        assert_eq!(next(&mut pieces).await, None);
        drop(pieces);
        assert_eq!(tab.bytes(), 3 << 10);
        let mut large = body(&share, &tab, stream::iter([begun(LARGE + 65, 10)]));
        let refused = next(&mut large).await.unwrap().unwrap_err();
        assert!(refused.contains("2097153"), "{refused}");
        let mut longer_than_it_says = body(&share, &tab, stream::repeat(begun(10, 60_000)));
        let refused = loop {
            if let Err(refused) = next(&mut longer_than_it_says).await.unwrap() {
                break refused;
            }
        };
        assert!(refused.contains("2097152"), "{refused}");
    }
}
