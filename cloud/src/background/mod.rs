//! What is done without anybody asking: idempotent, woken by time, safe to stop at any point.
//!
//! Rollouts and comparisons of output live beside the tasks ([`crate::task`]); here is what only looks after the store.

use std::{collections::HashMap, time::Duration};

use opslink::{id::AgentId, time::UnixMicros};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    store::record::AgentSeen,
    task::{Engine, machine::Event},
};

/// Executions that are read at once.
const EXPIRED_MAX: u32 = 1_000;
/// Between two writes of the agents' signs of life.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// Ends what waited too long, and looks where nobody looked, until the engine stops.
pub(crate) async fn expire_queues(engine: Engine) {
    let mut tick = interval(engine.config.reconcile_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        engine.book.sweep();
        for agent in engine.book.neglected() {
            engine.wake_agent(agent);
        }
        loop {
            let expired = match engine.store.execution_expired(UnixMicros::now(), EXPIRED_MAX).await {
                Ok(expired) => expired,
                Err(error) => {
                    tracing::warn!(%error, "expired queues wait for the store");
                    break;
                }
            };
            let full = expired.len() == EXPIRED_MAX as usize;
            match engine.change_all(expired, |_| vec![Event::QueueExpired]).await {
                Ok(_) if full => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "expired queues wait for the store");
                    break;
                }
            }
        }
    }
}

/// Writes when agents were last heard of, all in one call, until the engine stops.
pub(crate) async fn write_signs_of_life(engine: Engine) {
    let mut written: HashMap<AgentId, UnixMicros> = HashMap::new();
    let mut tick = interval(SEEN_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let frames = engine.links.last_frames();
        let new = frames.iter().filter(|(id, time)| written.get(id) != Some(time));
        let seen: Vec<_> = new.map(|(id, time)| AgentSeen { id: *id, time: *time }).collect();
        for AgentSeen { id, time } in &seen {
            engine.directory.set_seen(*id, *time);
        }
        if seen.is_empty() {
            continue;
        }
        match engine.store.agent_seen(seen).await {
            // Only those with a link: the map never outgrows the fleet.
            Ok(()) => written = frames.into_iter().collect(),
            Err(error) => tracing::warn!(%error, "signs of life wait for the store"),
        }
    }
}
