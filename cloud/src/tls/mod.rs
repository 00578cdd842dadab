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
mod crowd;
mod greeting;
mod known;
mod limits;
mod listener;
mod lobby;
mod pace;
mod settings;
mod slots;

pub use accept::serve;
pub use activity::Whole;
pub use known::KnownMost;
pub use limits::{Limits, Most, Places, Rate};
pub use listener::{Listener, TcpAcceptor};

#[cfg(test)]
mod tests;
