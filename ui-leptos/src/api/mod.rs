//! The only code that calls the cloud: gRPC-web to the origin that the console was loaded from.

mod agents;
mod auth;
mod failure;
mod logs;
mod system;
mod tasks;
mod watch;

pub(crate) use agents::*;
pub(crate) use auth::*;
pub(crate) use failure::Failure;
pub(crate) use logs::*;
pub(crate) use system::*;
pub(crate) use tasks::*;
pub(crate) use watch::*;

use tonic::{Request, Response, metadata::MetadataValue};
use tonic_web_wasm_client::{
    Client,
    options::{Credentials, FetchOptions},
};

use crate::{dom, i18n};

/// What came of a call.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Largest message that is read: a chunk is at most 512 KiB on the wire, lists can be longer.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

fn channel() -> Client {
    // The session is an HttpOnly cookie that this code never sees.
    Client::new_with_options(dom::origin(), FetchOptions::new().credentials(Credentials::SameOrigin))
}

/// Wraps a message with what every call carries: the mark that a page of ours sent it (the cookie alone is not
/// enough), and the language for errors.
fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("x-opslink-console", MetadataValue::from_static("1"));
    metadata.insert("accept-language", MetadataValue::from_static(i18n::language().tag()));
    request
}

fn answer<T>(result: Result<Response<T>, tonic::Status>) -> Answer<T> {
    result.map(Response::into_inner).map_err(Failure::from)
}

/// A fresh id for a request that must happen once.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
