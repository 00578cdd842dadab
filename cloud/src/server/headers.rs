//! What is decided when only the headers of a call are here: whether its body is read at all, for how long, and in whose
//! room.
//!
//! ```text
//! a row of the table asks for a login or an agent   refused here, the body is never polled
//! anybody may call it                               its turn first, then 10 s for a small body; a stranger keeps the turn
//!                                                   until its answer is taken
//! reflection                                        as that, and one of 16 conversations of strangers, or of others
//! a path of ours that the table does not know       refused here as what nobody does
//! everything else that is a call                    a limit on silence, on the whole, and on bytes, of the request
//!                                                   (`body`) and of the answer (`answer`), in its caller's `room`s;
//!                                                   what reads stands behind its caller's others (`reading`)
//! a file of the console                             it is there for everybody; a session makes its connection known
//! ```
//!
//! The path is looked up in the table of `authz` and used for nothing else; who is let in is decided once more by the
//! handler. Inside of gRPC-web, so that both kinds of call pass here.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{Extensions, HeaderMap, header};
use http_body::Frame;
use opslink::{locale::Language, problem::Problem, reason::Reason};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::Status;

use super::{
    answer::Answering,
    body::{ANYBODY, CONVERSATION, Impatient, KNOWN, Measure, Shares, Tab},
    going::going,
    reading::{Readers, Reading},
    room::Room,
    sizes::{self, Kind},
};
use crate::{
    agents::Directory,
    authz::{Principal, Rpc},
    identity::{Gate, Kept, Standing},
    status::{header_language, to_status, with_reason},
    tls::Whole,
};

/// Bodies of calls that anybody may make and that are not read to their end, of all connections that have shown something.
/// Each may have [`sizes::ANYBODY_MAX`] bytes: 4 MiB in all. Of strangers there are few connections, each with four
/// bodies, so none of them can take a turn from another.
const BODIES_MAX: usize = 256;

/// Conversations of reflection at the same time, of strangers, and of all others: each answer has some 45 KB, and several
/// are on their way.
const CONVERSATIONS_MAX: usize = 16;

/// How the paths of our calls begin, whatever the version of their package.
const OURS: &str = "/opslink.";

/// Longest look at whose session it is that asks for a file of the console: the file comes all the same.
const RECOGNISED_WITHIN: Duration = Duration::from_secs(1);

/// What this stage needs.
#[derive(Clone)]
pub(super) struct Headers {
    gate: Gate,
    directory: Directory,
    beginnings: Room,
    requests: Room,
    answers: Room,
    readers: Readers,
    bodies: Arc<Semaphore>,
    conversations: Arc<Semaphore>,
    conversations_of_strangers: Arc<Semaphore>,
}

impl Headers {
    pub(super) fn new(gate: Gate, directory: Directory) -> Self {
        Self {
            gate,
            directory,
            beginnings: Room::of_beginnings(),
            requests: Room::of_requests(),
            answers: Room::of_answers(),
            readers: Readers::default(),
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            conversations: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
            conversations_of_strangers: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
        }
    }

    /// Waits for leave to read a body that anybody may send.
    async fn turn(&self, standing: Option<&Arc<Standing>>) -> Option<Arc<Turn>> {
        let of_connection = match standing {
            Some(standing) => Some(standing.body_turn().await?),
            None => None,
        };
        let of_all = match is_stranger(standing) {
            true => None,
            false => Some(Arc::clone(&self.bodies).try_acquire_owned().ok()?),
        };
        Some(Arc::new(Turn {
            _of_connection: of_connection,
            _of_all: of_all,
        }))
    }

    /// Takes a place for a conversation of reflection; `None` when all are taken.
    fn conversation(&self, is_stranger: bool) -> Option<OwnedSemaphorePermit> {
        let conversations = match is_stranger {
            true => &self.conversations_of_strangers,
            false => &self.conversations,
        };
        Arc::clone(conversations).try_acquire_owned().ok()
    }

    /// Asks the gate who it is, unless it is asked about too many calls of strangers already.
    async fn look(&self, rpc: Rpc, headers: &HeaderMap, extensions: &Extensions) -> Result<String, Status> {
        let place = extensions.get::<Arc<Standing>>().map(|standing| standing.look());
        if matches!(place, Some(None)) {
            return Err(to_status(&Reason::Overloaded.into(), header_language(headers)));
        }
        self.gate.check(rpc, headers, extensions).await
    }

    /// A file of the console is asked for. Who has logged in is no stranger while it comes, over however slow a line.
    pub(super) async fn recognise(&self, headers: &HeaderMap, extensions: &Extensions) {
        let Some(standing) = extensions.get::<Arc<Standing>>() else {
            return;
        };
        if standing.is_known() || !headers.contains_key(header::COOKIE) {
            return;
        }
        let Some(_place) = standing.look() else {
            return;
        };
        let looked = timeout(RECOGNISED_WITHIN, self.gate.recognises(headers, extensions)).await;
        if !looked.unwrap_or(false) {
            standing.refused();
        }
    }
}

fn is_stranger(standing: Option<&Arc<Standing>>) -> bool {
    standing.is_some_and(|standing| !standing.is_known())
}

/// Leave to read one body; given back when it is read, or given up, and for strangers when the answer is taken.
pub(super) struct Turn {
    _of_connection: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

/// An answer that keeps its call's turn, or its conversation's place, until it is taken. A stranger that does not take it
/// is cut off with its connection ([`crate::tls::Limits::stranger_call`]).
struct Untaken {
    body: Body,
    _turn: Option<Arc<Turn>>,
    _conversation: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Untaken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(ctx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Lets a call through to its handler, or answers it.
pub(super) async fn check(State(headers): State<Headers>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let call = match Rpc::of_path(&path) {
        Some(rpc) => match rpc.requires() {
            Principal::Session | Principal::Viewer | Principal::Operator | Principal::Admin | Principal::Agent => {
                return known(&headers, rpc, &path, request, next).await;
            }
            Principal::Anyone => Some(rpc),
        },
        // Nobody says who may call it, so nobody may: also when there is a handler that forgot to ask.
        None if path.starts_with(OURS) => return unknown(&path, &request),
        None => None,
    };
    anybody(&headers, call, &path, request, next).await
}

fn overloaded(language: Language) -> Response {
    to_status(&Reason::Overloaded.into(), language).into_http()
}

/// The answer to a call of ours that is in no row of the table.
fn unknown(path: &str, request: &Request) -> Response {
    if let Some(standing) = request.extensions().get::<Arc<Standing>>() {
        standing.refused();
    }
    let problem = Problem::new(Reason::Unimplemented).with("rpc", path);
    to_status(&problem, header_language(request.headers())).into_http()
}

/// A call that somebody's row of the table asks a login or a certificate for.
async fn known(headers: &Headers, rpc: Rpc, path: &str, request: Request, next: Next) -> Response {
    let language = header_language(request.headers());
    let actor = match headers.look(rpc, request.headers(), request.extensions()).await {
        Ok(actor) => actor,
        Err(status) => {
            if let Some(standing) = request.extensions().get::<Arc<Standing>>() {
                standing.refused();
            }
            return status.into_http();
        }
    };
    let agents = || headers.directory.size();
    let Some(answering) = Answering::new(headers.answers.share(&actor), rpc, agents).await else {
        return overloaded(language);
    };
    let (tab, reading, kept) = (Tab::default(), Reading::default(), Kept::default());
    // A link lives as long as its connection; its own heartbeat watches over it.
    let mut request = match rpc == Rpc::Attach {
        true => request,
        false => {
            let shares = Shares {
                first: headers.beginnings.share(&actor),
                rest: headers.requests.share(&actor),
            };
            let measure = Measure::new(shares, tab.clone(), sizes::request_max(rpc));
            request.map(|body| {
                let body = Impatient::new(body, KNOWN, None, Some(measure), language);
                match sizes::reads(rpc) {
                    true => Body::new(headers.readers.before(body, &actor, &reading)),
                    false => Body::new(body),
                }
            })
        }
    };
    request.extensions_mut().insert(kept.clone());
    let answer = with_reason(next.run(request).await, path, language);
    drop(reading);
    if sizes::kind(rpc) == Kind::Stream {
        return going(answer, kept);
    }
    answering.pass(answer, tab, language).await
}

/// A call that anybody may make: one of ours, or reflection, health, or nothing that there is.
async fn anybody(headers: &Headers, call: Option<Rpc>, path: &str, request: Request, next: Next) -> Response {
    let language = header_language(request.headers());
    let standing = request.extensions().get::<Arc<Standing>>().cloned();
    let Some(turn) = headers.turn(standing.as_ref()).await else {
        if let Some(standing) = &standing {
            standing.refused();
        }
        return overloaded(language);
    };
    let is_stranger = || is_stranger(standing.as_ref());
    let conversation = match path.starts_with("/grpc.reflection.") {
        true => match headers.conversation(is_stranger()) {
            Some(conversation) => Some(conversation),
            None => return overloaded(language),
        },
        false => None,
    };
    let patience = if call.is_some() { ANYBODY } else { CONVERSATION };
    let of_answer = is_stranger().then(|| Arc::clone(&turn));
    let request = request.map(|body| Body::new(Impatient::new(body, patience, Some(turn), None, language)));
    let mut answer = with_reason(next.run(request).await, path, language);
    // It may have shown something meanwhile: a login.
    let turn = of_answer.filter(|_| is_stranger());
    if turn.is_none() && conversation.is_none() {
        return answer;
    }
    if conversation.is_some() {
        // However it is used, it is over soon: the connection of whoever does not take it is cut.
        answer.extensions_mut().insert(Whole);
    }
    going(answer, Kept::default()).map(|body| {
        Body::new(Untaken {
            body,
            _turn: turn,
            _conversation: conversation,
        })
    })
}

#[cfg(test)]
mod tests;
