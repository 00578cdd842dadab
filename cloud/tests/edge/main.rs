//! The cloud's edge over real sockets: who may call what, joining, logging in, and what is not gRPC.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod authz;
mod expired;
mod harness;
mod join;
mod login;
mod start;
mod web;
