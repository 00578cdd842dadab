//! What the courier asks of whoever works the link for it. Pure.

use std::time::Duration;

use opslink::{
    id::AttemptId,
    pb::{AttachRequest, SignedEnvelope},
};

use super::time_to_start::Arrival;
use crate::launch::Order;

/// What the courier wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Check this task, then call [`super::Courier::admitted`].
    Admit(SignedEnvelope, Arrival),
    /// Start this attempt, by this time on the courier's clock or not at all, then call [`super::Courier::started`]. The
    /// time may be over: then this only asks whether it has run before.
    Start(Box<Order>, Duration),
    /// Ask for the end of this attempt, whether it is here already or not.
    Cancel(AttemptId),
    /// The cloud has everything below this event.
    Acknowledged(AttemptId, u64),
    /// The cloud has the attempt for good.
    Forget(AttemptId),
    /// Close the link and come back after this time.
    Redial(Duration),
    /// Close the link: this agent and the cloud have no protocol version in common.
    Incompatible(u32),
}

/// What is to leave next.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "handed on at once, one at a time")]
pub enum Output {
    /// This frame.
    Frame(AttachRequest),
    /// Read this attempt's journal at this event, then call [`super::Courier::chunk`], or
    /// [`super::Courier::unreadable`].
    Read(AttemptId, u64),
}
