//! How every method is called: bytes go out and bytes come in, through one client that is compiled once. What is a
//! message is made from them here, at the edge.

use std::{future::Future, marker::PhantomData, pin::Pin};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
};
use tonic_web_wasm_client::{
    Client,
    options::{Credentials, FetchOptions},
};

use super::{Answer, Failure};
use crate::{dom, i18n, logic::methods::Method};

/// Largest message that is read: a chunk is at most 512 KiB on the wire, lists can be longer.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Calls a method that answers once.
pub(crate) async fn call<Q: Message, A: Message + Default>(method: Method<Q, A>, message: Q) -> Answer<A> {
    let answer = unary(method.path, message.encode_to_vec().into()).await?;
    Ok(decoded(answer)?)
}

/// Calls a method that answers with a stream.
pub(crate) async fn open<Q: Message, A: Message + Default>(method: Method<Q, A>, message: Q) -> Answer<Messages<A>> {
    let inner = streaming(method.path, message.encode_to_vec().into()).await?;
    Ok(Messages {
        inner,
        kind: PhantomData,
    })
}

/// The messages of a stream, one after the other.
pub(crate) struct Messages<A> {
    inner: Streaming<Bytes>,
    kind: PhantomData<fn() -> A>,
}

impl<A: Message + Default> Messages<A> {
    /// The next one; nothing after the last.
    pub(crate) async fn message(&mut self) -> Answer<Option<A>> {
        Ok(self.inner.message().await?.map(decoded).transpose()?)
    }
}

fn decoded<A: Message + Default>(bytes: Bytes) -> Result<A, Status> {
    A::decode(bytes).map_err(|error| Status::internal(format!("opslink: {error}")))
}

type Later<T> = Pin<Box<dyn Future<Output = Result<T, Failure>>>>;

fn unary(path: &'static str, body: Bytes) -> Later<Bytes> {
    Box::pin(async move {
        let mut client = client();
        let answer = client
            .unary(request(body), PathAndQuery::from_static(path), Raw)
            .await?;
        Ok(answer.into_inner())
    })
}

fn streaming(path: &'static str, body: Bytes) -> Later<Streaming<Bytes>> {
    Box::pin(async move {
        let mut client = client();
        let answer = client
            .server_streaming(request(body), PathAndQuery::from_static(path), Raw)
            .await?;
        Ok(answer.into_inner())
    })
}

/// A client of the origin that the console came from. It is always ready: the browser does the queueing.
fn client() -> Grpc<Client> {
    // The session is an HttpOnly cookie that this code never sees.
    let options = FetchOptions::new().credentials(Credentials::SameOrigin);
    Grpc::new(Client::new_with_options(dom::origin(), options)).max_decoding_message_size(MAX_MESSAGE)
}

/// Wraps a message with what every call carries: the mark that a page of ours sent it (the cookie alone is not
/// enough), and the language for errors.
fn request(body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    let metadata = request.metadata_mut();
    metadata.insert("x-opslink-console", MetadataValue::from_static("1"));
    metadata.insert("accept-language", MetadataValue::from_static(i18n::language().tag()));
    request
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
