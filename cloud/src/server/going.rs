//! The answer of a stream, on its way to the connection: its place among those of its caller goes with its last bytes.
//!
//! hyper asks for the next piece at once and passes it on when less than a KiB of what came before is unsent; an end without
//! bytes it passes on at once, and drops the answer. So each message is cut: its last KiB is asked for with the rest, and
//! passed on when that has left, and what comes after is asked for then.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::Frame;

use super::answer::next_piece;
use crate::identity::Kept;

/// Passes a stream's answer on.
pub(super) fn going(answer: Response, kept: Kept) -> Response {
    answer.map(|body| {
        Body::new(Going {
            body,
            rest: Bytes::new(),
            kept,
        })
    })
}

struct Going {
    body: Body,
    /// Of what was last given.
    rest: Bytes,
    /// Until the end is given: who hears of it has room for the next stream.
    kept: Kept,
}

impl http_body::Body for Going {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(ctx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(end))) => {
                    drop(this.kept.give_up());
                    return Poll::Ready(Some(Ok(end)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    drop(this.kept.give_up());
                    return Poll::Ready(None);
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(next_piece(&mut this.rest)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn every_byte_passes_and_the_last_of_each_message_is_small() {
        let messages: Vec<Bytes> = [1, 1_024, 1_025, 200 << 10]
            .iter()
            .map(|bytes| Bytes::from(vec![b'x'; *bytes]))
            .collect();
        let whole: usize = messages.iter().map(Bytes::len).sum();
        let body = Body::from_stream(stream::iter(messages.into_iter().map(Ok::<_, Infallible>)));
        let mut body = going(Response::new(body), Kept::default()).into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(pieces.iter().sum::<usize>(), whole);
        assert!(pieces.iter().all(|piece| (1..=64 << 10).contains(piece)), "{pieces:?}");
        assert_eq!(pieces[..4], [1, 1_024, 1, 1_024], "{pieces:?}");
        assert_eq!(pieces.last(), Some(&1_024));
    }
}
