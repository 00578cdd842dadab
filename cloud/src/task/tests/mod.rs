//! The whole road in memory: a real engine, its links, ingest and tails over the in-memory store, and agents that are
//! played by the test. No network, no clock but tokio's.

mod bench;
mod reconnect;
mod road;
mod rollout;
mod watching;
