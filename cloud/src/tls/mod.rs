//! The door: TLS as we want it, and an accept loop that nothing stops.
//!
//! tonic's own builder can set neither session tickets nor a handshake timeout, so this is ours. [`config`] makes the
//! `rustls::ServerConfig`, [`serve`] accepts connections and serves a router on each; who has shown nothing yet waits in
//! the `lobby`, where a flood pays for itself. Generic over the listener, so
//! that the same code runs on TCP and in the network simulation.

mod accept;
mod activity;
pub mod config;
mod connection;
mod known;
mod limits;
mod listener;
mod lobby;
mod slots;

pub use accept::serve;
pub use activity::Whole;
pub use known::KnownMost;
pub use limits::Limits;
pub use listener::{Listener, TcpAcceptor};
pub use lobby::{Most, Places};

#[cfg(test)]
mod tests;
