//! The only code that calls the cloud: gRPC-web to the origin that the console was loaded from.

mod agents;
mod auth;
mod call;
mod failure;
mod logs;
mod system;
mod tasks;
mod watch;

pub(crate) use agents::*;
pub(crate) use auth::*;
pub(crate) use call::Messages;
pub(crate) use failure::Failure;
pub(crate) use logs::*;
pub(crate) use system::*;
pub(crate) use tasks::*;
pub(crate) use watch::*;

/// What came of a call.
pub(crate) type Answer<T> = Result<T, Failure>;

/// A fresh id for a request that must happen once.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
