//! The link: the one stream between this agent and the cloud, and the courier that works it.
//!
//! ```text
//!               ┌────────── reactor: tonic stream, launcher, clock ──────────┐
//! cloud frames ─┤► Courier (pure): who knows what, what is sent next, when   ├─► agent frames
//!               └────────── admission (pure): which tasks are obeyed ────────┘
//! ```
//! [`Courier`] and [`Admission`] do no IO and read no clock; `reactor` owns the stream. None of them knows processes,
//! files or TLS: a policy that was changed in its file is handed in ([`Reactor::following`]).

mod admission;
mod command;
mod control;
mod courier;
mod liveness;
mod reactor;
mod time_to_start;
mod track;

pub use admission::{Admission, EXPIRY_TOLERANCE, NotObeyed};
pub use command::{Command, Output};
pub use courier::Courier;
pub use reactor::{LinkEnd, Reactor};
pub use time_to_start::Arrival;
