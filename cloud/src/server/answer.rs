//! An answer that is here as a whole: what it takes of its caller's room until it is taken.
//!
//! tonic encodes an answer when somebody asks for it, and nobody does who takes nothing. So it is asked for here, at
//! once: what then waits has as many bytes as are counted, and is cut with its connection when it waits for too long
//! ([`crate::tls::Limits::untaken`]).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use opslink::{locale::Language, problem::Problem, reason::Reason};

use super::{
    body::Tab,
    room::{Held, Share},
    sizes::{self, Kind},
};
use crate::{authz::Rpc, status::to_status, tls::Whole};

/// What the connection gets at once.
const PIECE: usize = 64 << 10;
/// What it gets last: the connection keeps what it got and could not send, and nobody counts that any more.
const LAST: usize = 1 << 10;

/// Takes what the connection is to get next. The last piece is small, so it gets that once all that came before it has left
/// (`tls/settings.rs`), and the end behind it.
pub(super) fn next_piece(data: &mut Bytes) -> Bytes {
    let size = match data.len() {
        last @ ..=LAST => last,
        more => PIECE.min(more - LAST),
    };
    // A copy: a part of the whole would keep all of it.
    Bytes::copy_from_slice(&data.split_to(size))
}

/// What the answer of one call holds.
pub(super) struct Answering {
    share: Arc<Share>,
    kind: Kind,
    held: Vec<Held>,
}

impl Answering {
    /// Takes room for an answer before its handler is called, if it may be large in a fleet of so many agents; `None` when
    /// there is none.
    pub(super) async fn new(share: Arc<Share>, rpc: Rpc, agents: impl FnOnce() -> usize) -> Option<Self> {
        let kind = sizes::kind(rpc);
        let held = match sizes::before(rpc, agents) {
            0 => Vec::new(),
            bytes => vec![Arc::clone(&share).take(bytes).await?],
        };
        Some(Self { share, kind, held })
    }

    /// Passes the handler's answer on, with what it takes of the room. What the request had is given back, but for what was
    /// done: its answer has in it what the request brought.
    pub(super) async fn pass(mut self, answer: Response, request: Tab, language: Language) -> Response {
        let request = Some(request).filter(|_| self.kind == Kind::Change);
        // A failure has no body, and streams are counted elsewhere (`going.rs`).
        if self.kind == Kind::Stream || answer.body().is_end_stream() {
            return answer;
        }
        let (mut parts, body) = answer.into_parts();
        let collected = match body.collect().await {
            Ok(collected) => collected,
            Err(error) => {
                let problem = Problem::new(Reason::Internal).with("detail", error);
                return to_status(&problem, language).into_http();
            }
        };
        let trailers = collected.trailers().cloned();
        let data = collected.to_bytes();
        if !self.fit(data.len()).await {
            return to_status(&Reason::Overloaded.into(), language).into_http();
        }
        parts.extensions.insert(Whole);
        let pieces = Pieces {
            data,
            trailers,
            _held: self.held,
            _request: request,
        };
        Response::from_parts(parts, Body::new(pieces))
    }

    /// Has the room that this many bytes need. What is larger than was thought passes all the same: a list, of which one
    /// actor has two at most that are, and what was done, which nobody may be told to ask for again.
    async fn fit(&mut self, bytes: usize) -> bool {
        let has: usize = self.held.iter().map(Held::bytes).sum();
        if let Some(held) = self.held.first_mut().filter(|_| has >= bytes) {
            held.shrink(bytes);
            return true;
        }
        let missing = bytes - has;
        let more = match self.kind {
            Kind::List | Kind::Change => self.share.try_take(missing),
            Kind::One | Kind::Stream => Arc::clone(&self.share).take(missing).await,
        };
        let fits = more.is_some() || matches!(self.kind, Kind::List | Kind::Change);
        self.held.extend(more);
        fits
    }
}

/// What is left of an answer.
struct Pieces {
    data: Bytes,
    trailers: Option<HeaderMap>,
    _held: Vec<Held>,
    _request: Option<Tab>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.data.is_empty() {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(Some(Ok(Frame::data(next_piece(&mut this.data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{super::room::Room, *};

    fn answer(bytes: usize) -> Response {
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; bytes]));
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
        Response::new(Body::new(body.with_trailers(async move { Some(Ok(trailers)) })))
    }

    async fn answering(room: &Room, rpc: Rpc) -> Answering {
        Answering::new(room.share("token:a"), rpc, || 0).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_and_the_trailers_pass_and_the_last_piece_is_small() {
        let room = Room::of_answers();
        for bytes in [1, LAST, LAST + 1, PIECE + LAST, 3 * PIECE] {
            let answer = answering(&room, Rpc::GetTask)
                .await
                .pass(answer(bytes), Tab::default(), Language::En)
                .await;
            assert!(answer.extensions().get::<Whole>().is_some());
            let mut body = answer.into_body();
            let mut pieces = Vec::new();
            let mut status = None;
            while let Some(frame) = body.frame().await {
                match frame.unwrap().into_data() {
                    Ok(piece) => pieces.push(piece.len()),
                    Err(frame) => status = frame.into_trailers().ok(),
                }
            }
            assert_eq!(pieces.iter().sum::<usize>(), bytes);
            assert!(pieces.iter().all(|piece| *piece <= PIECE), "{pieces:?}");
            assert!(*pieces.last().unwrap() <= LAST, "{pieces:?}");
            assert_eq!(status.unwrap()["grpc-status"], "0");
        }
    }

    /// R3: a hundred lists of each connection were kept for as long as nobody took them.
    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_as_much_as_an_actor_has_room_for() {
        let room = Room::of_answers();
        let mut untaken = Vec::new();
        while let Some(answering) = Answering::new(room.share("token:a"), Rpc::ListTasks, || 0).await {
            untaken.push(answering.pass(answer(1 << 20), Tab::default(), Language::En).await);
            assert!(untaken.len() <= 16);
        }
        // A list takes more before anybody knows how large it is.
        assert_eq!(untaken.len(), 5);
        let created = answering(&room, Rpc::CreateTask)
            .await
            .pass(answer(100), Tab::default(), Language::En)
            .await;
        assert!(created.extensions().get::<Whole>().is_some(), "what is small has room");
        let other = Answering::new(room.share("token:b"), Rpc::ListTasks, || 0).await;
        assert!(other.is_some());
        untaken.truncate(3);
        assert!(
            Answering::new(room.share("token:a"), Rpc::ListTasks, || 0)
                .await
                .is_some()
        );
    }

    /// It was done, and its caller was told to ask again.
    #[tokio::test(start_paused = true)]
    async fn what_was_done_is_told_and_without_room_it_is_not_done() {
        let room = Room::of_answers();
        let change = answering(&room, Rpc::RemoveAgent).await;
        let create = answering(&room, Rpc::CreateTask).await;
        let _lists = [answering(&room, Rpc::ListTasks).await];
        let mut untaken = Vec::new();
        while let Some(held) = room.share("token:a").try_take(1 << 10) {
            untaken.push(held);
        }
        // Nobody asks for room that is not there any more.
        assert!(
            Answering::new(room.share("token:a"), Rpc::CreateTask, || 0)
                .await
                .is_none()
        );
        for (answering, bytes) in [(change, 100), (create, 600 << 10)] {
            let told = answering.pass(answer(bytes), Tab::default(), Language::En).await;
            assert!(told.extensions().get::<Whole>().is_some(), "{bytes}");
        }
    }

    /// A task on 10,000 agents has 1.5 MB of executions, and its answer passed with room for 16 KiB.
    #[tokio::test(start_paused = true)]
    async fn what_was_done_on_many_agents_has_room_and_a_small_fleet_waits_for_nothing() {
        let room = Room::of_answers();
        let mut untaken = Vec::new();
        while let Some(answering) = Answering::new(room.share("token:a"), Rpc::CreateTask, || 10_000).await {
            untaken.push(answering.pass(answer(1_500_000), Tab::default(), Language::En).await);
            assert!(untaken.len() <= 8);
        }
        assert_eq!(untaken.len(), 5);
        let began = tokio::time::Instant::now();
        let mut at_once = Vec::new();
        for _ in 0..64 {
            at_once.extend(Answering::new(room.share("token:b"), Rpc::CreateTask, || 100).await);
        }
        assert_eq!((at_once.len(), began.elapsed()), (64, std::time::Duration::ZERO));
    }

    /// Eight at once of one caller kept what the others waited for, for five seconds, and failed.
    #[tokio::test(start_paused = true)]
    async fn lists_that_come_together_wait_for_each_other_and_are_answered() {
        let (requests, answers) = (super::super::body::tests::Rooms::new(), Room::of_answers());
        let began = tokio::time::Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (answers, requests) = (answers.clone(), requests.share("token:a"));
            calls.spawn(async move {
                let answering = answering(&answers, Rpc::MatchAgents).await;
                tokio::task::yield_now().await;
                let read = super::super::body::tests::read(&requests, 100 << 10).await;
                tokio::task::yield_now().await;
                let passed = answering.pass(answer(100), Tab::default(), Language::En).await;
                read && passed.extensions().get::<Whole>().is_some()
            });
        }
        assert!(calls.join_all().await.into_iter().all(|passed| passed));
        assert_eq!(
            began.elapsed(),
            std::time::Duration::ZERO,
            "nobody waited for the time to pass"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_larger_than_was_thought_passes() {
        let room = Room::of_answers();
        let mut answers = Vec::new();
        for _ in 0..1 {
            let answering = answering(&room, Rpc::ListExecutions).await;
            answers.push(answering.pass(answer(6 << 20), Tab::default(), Language::En).await);
            assert!(
                answers
                    .iter()
                    .all(|answer| answer.extensions().get::<Whole>().is_some())
            );
        }
        assert!(
            Answering::new(room.share("token:a"), Rpc::ListTasks, || 0)
                .await
                .is_none()
        );
    }
}
