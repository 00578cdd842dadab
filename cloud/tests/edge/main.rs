//! The cloud's edge over real sockets: who may call what, joining, logging in, and what is not gRPC.

mod authz;
mod harness;
mod join;
mod login;
mod start;
mod web;
