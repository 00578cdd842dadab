//! The link: the one stream between this agent and the cloud, and the courier that works it.
//!
//! ```text
//!               ┌────────── reactor: tonic stream, launcher, clock ──────────┐
//! cloud frames ─┤► Courier (pure): who knows what, what is sent next, when   ├─► agent frames
//!               └────────── admission (pure): which tasks are obeyed ────────┘
//! ```
//! [`Courier`] does no IO and reads no clock; `reactor` owns the stream; neither knows processes, files or TLS.

mod admission;
mod command;
mod courier;
mod liveness;
mod reactor;
mod track;

pub use admission::{Admission, EXPIRY_TOLERANCE, NotObeyed};
pub use command::{Command, Output};
pub use courier::Courier;
pub use reactor::{LinkEnd, Reactor};
