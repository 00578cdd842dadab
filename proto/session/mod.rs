//! The cores of a link: what to do, decided without doing it.
//!
//! Nothing here knows a socket, a clock, a runtime or a random source: time and randomness come in as arguments, so
//! that every sequence of events can be tried in a test. The cloud's `link` and the agent's `link` do the IO around it.
//!
//! - [`handshake`]: which protocol version is spoken.
//! - [`heartbeat`]: when to ping, and when the other end is dead.
//! - [`flow`]: how much of an attempt may be under way, and what of it has arrived.
//! - [`backoff`]: how long to wait before the next dial.

pub mod backoff;
pub mod flow;
pub mod handshake;
pub mod heartbeat;
