//! The whole road in memory: a real engine, its links, ingest and tails over the in-memory store, and agents that are
//! played by the test. No network, no clock but tokio's.

mod api;
mod aside;
mod asks_little;
mod attempts;
mod audited;
mod bench;
mod big_scripts;
mod cancel_meets_retry;
mod cloud_away;
mod damaged;
mod damaged_output;
mod deaf;
mod deaths;
mod doubt;
mod expiry;
mod hidden;
mod kept;
mod left_alone;
mod left_undone;
mod lists;
mod reconnect;
mod records;
mod road;
mod rollout;
mod sent_once;
mod set_back;
mod signs_of_life;
mod targets;
mod trouble;
mod watch_costs;
mod watching;
mod weights;
mod wide;
mod window;
