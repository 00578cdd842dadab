//! Limits of the engine.

use std::time::Duration;

use crate::{link, signals::Between};

/// Limits of the engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Attempts at work at the same time, per agent; the rest waits in the store.
    pub slots_per_agent: usize,
    /// Agents that are greeted, or whose queues are handed out, at the same time.
    pub concurrency: usize,
    /// Between two looks for what nobody woke us for.
    pub reconcile_every: Duration,
    /// How long an agent that went away may take to say what became of something that it was handed, counted from the
    /// time at which it could start at the latest.
    pub answer_within: Duration,
    /// How long an agent may be away until what it was doing is given up as lost.
    pub lost_after: Duration,
    /// How long a cloud that has just come up, or whose store was away, waits for agents before it takes any of them for
    /// gone: they dial again within a minute.
    pub return_within: Duration,
    /// Heartbeat of watches.
    pub watch_heartbeat: Duration,
    /// Of links.
    pub link: link::Config,
    /// What signals pass on their way.
    pub signals: Between,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots_per_agent: 64,
            concurrency: 64,
            reconcile_every: Duration::from_secs(10),
            answer_within: Duration::from_secs(15 * 60),
            lost_after: Duration::from_secs(7 * 24 * 3600),
            return_within: Duration::from_secs(5 * 60),
            watch_heartbeat: Duration::from_secs(15),
            link: link::Config::default(),
            signals: Between::default(),
        }
    }
}
