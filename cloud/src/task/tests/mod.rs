//! The whole road in memory: a real engine, its links, ingest and tails over the in-memory store, and agents that are
//! played by the test. No network, no clock but tokio's.

mod api;
mod audited;
mod bench;
mod big_scripts;
mod cloud_away;
mod damaged;
mod damaged_output;
mod deaf;
mod deaths;
mod doubt;
mod hidden;
mod left_alone;
mod left_undone;
mod reconnect;
mod road;
mod rollout;
mod sent_once;
mod set_back;
mod targets;
mod trouble;
mod watching;
mod wide;
