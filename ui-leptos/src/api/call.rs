//! How every method is called: gRPC-web over the browser's `fetch`. Bytes go out and come in through code that is there
//! once; messages are made from them at the edge.
//!
//! It is our own because of its size: a general client brings its own HTTP with it, a tenth of the console.

use std::{collections::BTreeMap, future::Future, marker::PhantomData, pin::Pin};

use bytes::Bytes;
use js_sys::{Reflect, Uint8Array};
use leptos::prelude::window;
use prost::Message;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, ReadableStreamDefaultReader, RequestCredentials, RequestInit, Response};

use super::{Answer, Failure};
use crate::{
    i18n,
    logic::{
        frames::{self, Frame, Frames},
        methods::Method,
        status::Status,
    },
};

/// Calls a method that answers once.
pub(crate) async fn call<Q: Message, A: Message + Default>(method: Method<Q, A>, message: Q) -> Answer<A> {
    let answer = unary(method.path, message.encode_to_vec()).await?;
    A::decode(answer).map_err(|error| Failure::broken(&error.to_string()))
}

/// Calls a method that answers with a stream.
pub(crate) async fn open<Q: Message, A: Message + Default>(method: Method<Q, A>, message: Q) -> Answer<Messages<A>> {
    let inner = send(method.path, message.encode_to_vec()).await?;
    Ok(Messages {
        inner,
        kind: PhantomData,
    })
}

/// The messages of a stream, one after the other. Dropping it ends the call.
pub(crate) struct Messages<A> {
    inner: Stream,
    kind: PhantomData<fn() -> A>,
}

impl<A: Message + Default> Messages<A> {
    /// The next one; nothing after the last.
    pub(crate) async fn message(&mut self) -> Answer<Option<A>> {
        let Some(bytes) = self.inner.message().await? else {
            return Ok(None);
        };
        let message = A::decode(bytes).map_err(|error| Failure::broken(&error.to_string()))?;
        Ok(Some(message))
    }
}

/// A future in a box: what waits for it is compiled for every method, and need not hold it.
type Later<T> = Pin<Box<dyn Future<Output = Answer<T>>>>;

fn unary(path: &'static str, message: Vec<u8>) -> Later<Bytes> {
    Box::pin(async move {
        let mut stream = send(path, message).await?;
        let answer = stream.message().await?;
        // An error can come after the message; only the end says that all is well.
        while stream.message().await?.is_some() {}
        answer.ok_or_else(|| Failure::broken("an answer without a message"))
    })
}

fn send(path: &'static str, message: Vec<u8>) -> Later<Stream> {
    Box::pin(async move {
        let abort = AbortController::new().map_err(Failure::silent)?;
        let response = fetch(path, &message, &abort).await.map_err(Failure::silent)?;
        let mut words = BTreeMap::new();
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            if let Ok(Some(value)) = response.headers().get(name) {
                words.insert(name.to_owned(), value);
            }
        }
        let kind = response
            .headers()
            .get("content-type")
            .ok()
            .flatten()
            .unwrap_or_default();
        let status = Status::read(&words);
        if let Some(status) = status.as_ref().filter(|status| !status.is_ok()) {
            return Err(status.clone().into());
        }
        // Without these words it is not our server that spoke.
        if !response.ok() || !kind.starts_with("application/grpc-web") {
            return Err(Failure::unreachable());
        }
        let reader = response
            .body()
            .and_then(|body| body.get_reader().dyn_into::<ReadableStreamDefaultReader>().ok())
            .ok_or_else(Failure::unreachable)?;
        Ok(Stream {
            reader,
            abort,
            frames: Frames::default(),
            ended: status.is_some(),
        })
    })
}

async fn fetch(path: &str, message: &[u8], abort: &AbortController) -> Result<Response, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in [
        ("content-type", "application/grpc-web+proto"),
        ("accept", "application/grpc-web+proto"),
        ("x-grpc-web", "1"),
        // The mark that a page of ours sent it: the cookie alone is not enough.
        ("x-opslink-console", "1"),
        // For errors.
        ("accept-language", i18n::language().tag()),
    ] {
        headers.set(name, value)?;
    }
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    // The session is an HttpOnly cookie that this code never sees.
    init.set_credentials(RequestCredentials::SameOrigin);
    init.set_body(&Uint8Array::from(frames::frame(message).as_slice()));
    init.set_signal(Some(&abort.signal()));
    let response = JsFuture::from(window().fetch_with_str_and_init(path, &init)).await?;
    response.dyn_into()
}

/// The frames of an answer.
struct Stream {
    reader: ReadableStreamDefaultReader,
    abort: AbortController,
    frames: Frames,
    ended: bool,
}

impl Stream {
    async fn message(&mut self) -> Answer<Option<Bytes>> {
        loop {
            match self.frames.next_frame() {
                Some(Frame::Message(message)) => return Ok(Some(message)),
                Some(Frame::End(words)) => {
                    self.ended = true;
                    let status = Status::read(&words).unwrap_or_default();
                    return if status.is_ok() { Ok(None) } else { Err(status.into()) };
                }
                Some(Frame::Broken) => return Err(Failure::broken("no gRPC-web")),
                None if self.ended => return Ok(None),
                None => {}
            }
            let piece = JsFuture::from(self.reader.read()).await.map_err(Failure::silent)?;
            let part = |name: &str| Reflect::get(&piece, &name.into()).unwrap_or(JsValue::UNDEFINED);
            if part("done").is_truthy() {
                // Cut off before it said how it ended.
                return Err(Failure::unreachable());
            }
            if let Ok(bytes) = part("value").dyn_into::<Uint8Array>() {
                self.frames.push(&bytes.to_vec());
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.abort.abort();
        }
    }
}
