//! The door: TLS as we want it, and an accept loop that nothing stops.
//!
//! tonic's own builder can set neither session tickets nor a handshake timeout, so this is ours. [`config`] makes the
//! `rustls::ServerConfig`, [`serve`] accepts connections and serves a router on each. Generic over the listener, so
//! that the same code runs on TCP and in the network simulation.

mod accept;
pub mod config;
mod connection;
mod listener;

pub use accept::serve;
pub use connection::Limits;
pub use listener::{Listener, TcpAcceptor};

#[cfg(test)]
mod tests;
