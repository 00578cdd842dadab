//! The OpsLink cloud: one TLS port for agents, people and programs; a task goes out, one event stream comes back.
//!
//! Start reading at [`server`]: it wires everything together, top-down. The services in [`service`] are thin:
//! gate ([`identity::Gate`]), decode, call, encode. This crate never knows the agent crate.

pub mod agents;
pub mod authz;
mod blocking;
pub mod config;
mod crash;
pub mod gateway;
pub mod identity;
pub mod link;
pub mod pki;
mod retention;
mod seats;
pub mod server;
pub mod service;
pub mod signals;
pub mod status;
pub mod store;
pub mod tail;
pub mod task;
pub mod tls;
mod work;
