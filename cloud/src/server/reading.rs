//! Who reads right now. The readers of callers are few (see [`Store::for_callers`](crate::store::Store::for_callers)),
//! and whoever asks for the widest lists without pause would have all of them. So each actor reads with two, and stands
//! behind itself.
//!
//! Which calls read is in [`sizes::reads`](super::sizes::reads); no handler takes part in it. A call has its turn from the
//! end of its request on, so that nobody stands behind a body that does not come, and until its handler has answered: a
//! stream needs it to begin only.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::Frame;

use crate::seats::{Seat, Seats};

/// Calls of one actor that read at the same time: half of the readers.
const OF_ONE: usize = 2;

/// All actors that read right now. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Readers(Seats);

impl Default for Readers {
    fn default() -> Self {
        Self(Seats::of_each(OF_ONE))
    }
}

/// That a call reads: from the end of its request on, and over when this is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(Arc<OnceLock<Seat>>);

impl Readers {
    /// A request whose end comes when it is its actor's turn to read.
    pub(super) fn before<B>(&self, body: B, actor: &str, reading: &Reading) -> Orderly<B> {
        let (seats, actor, reading) = (self.0.clone(), actor.to_owned(), reading.clone());
        let turn = async move {
            // A request ends once, so nothing is there yet.
            let _ = reading.0.set(seats.of(&actor).await);
        };
        Orderly {
            body,
            turn: Some(Box::pin(turn)),
            end: None,
        }
    }
}

/// What is left of a request whose frames have passed.
enum End {
    Trailers(Frame<Bytes>),
    Nothing,
}

/// A request that stands behind the others of its actor before it ends. No handler is called before its request has
/// ended.
pub(super) struct Orderly<B> {
    body: B,
    /// Absent once it was there.
    turn: Option<BoxFuture<'static, ()>>,
    /// Is here, and waits for the turn.
    end: Option<End>,
}

impl<B> http_body::Body for Orderly<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.end.is_none() {
            // Trailers are an end too: whoever sent some would not be asked for more.
            let end = match ready!(Pin::new(&mut this.body).poll_frame(ctx)) {
                Some(Ok(frame)) if frame.is_trailers() => End::Trailers(frame),
                Some(frame) => return Poll::Ready(Some(frame)),
                None => End::Nothing,
            };
            this.end = Some(end);
        }
        if let Some(turn) = &mut this.turn {
            ready!(turn.as_mut().poll(ctx));
            this.turn = None;
        }
        Poll::Ready(match this.end.take() {
            Some(End::Trailers(frame)) => Some(Ok(frame)),
            Some(End::Nothing) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.turn.is_none() && self.end.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
