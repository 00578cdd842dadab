//! The cloud's edge over real sockets: who may call what, joining, logging in, and what is not gRPC.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod authz;
mod copies;
mod damaged;
mod expired;
mod harness;
mod holds;
mod join;
mod large_requests;
mod lists;
mod login;
mod lost_answers;
mod start;
mod strangers;
mod unread;
mod untaken;
mod web;
