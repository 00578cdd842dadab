//! Which agents are here: the one question about it, and the rows that say it to others, one an agent, each with a lease
//! that its signs of life prolong and the end of its link ends.
//!
//! What is asked is the links of this process: of two clouds on one database each would ask the leases of the other, too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use opslink::{id::AgentId, time::UnixMicros};
use tokio::time::{MissedTickBehavior, interval};

use super::reachable::Reachable;
use crate::{
    agents::Directory,
    link::Links,
    signals::Due,
    store::{Store, record::AgentSeen},
};

/// Between two writes of the agents' signs of life.
const SEEN_EVERY: Duration = Duration::from_secs(10);
/// How long an agent is believed to be here without a further sign of life: three of them may be late.
pub(super) const LEASE: Duration = Duration::from_secs(40);
/// Writes of signs of life that may fail before the first is taken: a page of the table that is lost holds fewer agents.
const FAILURES_MAX: usize = 256;
/// Leases that are ended in one write.
const ENDED_AT_ONCE: usize = 500;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Presence {
    links: Links,
    /// Name of this process among the clouds.
    replica: Arc<str>,
    /// Agents whose link is down, and the link's epoch.
    ended: Arc<Due<(AgentId, u64)>>,
    reachable: Reachable,
}

impl Presence {
    pub(super) fn new(links: Links, reachable: Reachable) -> Self {
        Self {
            links,
            replica: uuid::Uuid::now_v7().to_string().into(),
            ended: Arc::default(),
            reachable,
        }
    }

    /// Says whether the agent is here: what is handed to it now is on its way.
    pub(super) fn is_here(&self, agent: AgentId) -> bool {
        self.links.is_live(agent)
    }

    /// Who is here, in the order of their ids.
    pub(super) fn here(&self) -> Vec<AgentId> {
        let mut agents: Vec<_> = self.links.last_frames().into_iter().map(|(agent, _)| agent).collect();
        agents.sort_unstable();
        agents
    }

    #[cfg(test)]
    pub(super) fn reachable(&self) -> &Reachable {
        &self.reachable
    }

    /// Name of this process among the clouds.
    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    /// Ends the lease of this link, soon.
    pub(super) fn end(&self, agent: AgentId, epoch: u64) {
        self.ended.add((agent, epoch));
    }

    /// Writes who is here, and who is no more, until it is dropped. One after the other: a sign of life that was taken
    /// before the end of a link is never written after it.
    pub(super) async fn run(self, store: Store, directory: Directory) {
        let mut written = Written::default();
        let mut tick = interval(SEEN_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // First what is due now and then: links that flap while the store is slow are there all the time.
                _ = tick.tick() => self.write_signs_of_life(&store, &directory, &mut written).await,
                ended = self.ended.take() => end_leases(&store, ended.into_iter().collect()).await,
            }
        }
    }

    /// Writes when agents were last heard of: together, and in parts when the store does not take all of it.
    pub(super) async fn write_signs_of_life(&self, store: &Store, directory: &Directory, written: &mut Written) {
        self.reachable.look();
        let frames = self.links.last_frames();
        let new = frames.iter().filter(|(id, time)| written.times.get(id) != Some(time));
        let seen: Vec<_> = new.map(|(id, time)| AgentSeen { id: *id, time: *time }).collect();
        for AgentSeen { id, time } in &seen {
            directory.set_seen(*id, *time);
        }
        if seen.is_empty() {
            // Perhaps because the store lets nobody in: then it is not the agents that are away.
            if store.ping().await.is_err() {
                self.reachable.begin_anew();
            }
            return;
        }
        let lease_until = UnixMicros::now().plus(LEASE);
        let (mut parts, mut taken, mut failures) = (vec![seen], false, 0);
        while let Some(mut part) = parts.pop() {
            match store.presence_seen(&self.replica, part.clone(), lease_until).await {
                Ok(()) => taken = true,
                Err(error) if error.may_pass() => {
                    self.reachable.begin_anew();
                    tracing::warn!(%error, "signs of life wait for the store");
                    return;
                }
                // None at all is taken, so it is about no agent.
                Err(error) if !taken && failures >= FAILURES_MAX => {
                    self.reachable.begin_anew();
                    tracing::error!(%error, "no sign of life is taken");
                    return;
                }
                // One that is never taken keeps nobody else's.
                Err(_) if part.len() > 1 => {
                    failures += 1;
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(error) => {
                    failures += 1;
                    if part.iter().any(|seen| written.told.insert(seen.id)) {
                        tracing::warn!(agents = ?part, %error, "a sign of life is not taken");
                    }
                }
            }
        }
        if taken {
            self.reachable.signs_of_life_taken();
        }
        // Only those with a link: the map never outgrows the fleet.
        written.times = frames.into_iter().collect();
        written.told.retain(|agent| written.times.contains_key(agent));
    }
}

/// What the task that writes signs of life remembers between two looks.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Last frames that were written, of those with a link.
    pub(super) times: HashMap<AgentId, UnixMicros>,
    /// Agents whose signs of life are not taken: each is told once a link.
    told: HashSet<AgentId>,
}

/// Ends the leases of links that are down. One that cannot be written ends by itself, [`LEASE`] later.
async fn end_leases(store: &Store, ended: Vec<(AgentId, u64)>) {
    for part in ended.chunks(ENDED_AT_ONCE) {
        let input = (part.to_vec(), UnixMicros::now());
        let write = store.write(input, |tx, (ended, now)| {
            Box::pin(async move {
                for (agent, epoch) in ended {
                    tx.presence_end(agent, epoch, now).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = write.await {
            tracing::warn!(%error, links = part.len(), "leases of links that are down end by themselves");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    };

    use async_trait::async_trait;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        link::Config,
        store::{
            Result,
            memory::{Faults, MemoryStore, Point},
        },
    };

    /// Links that go down whenever the end of a lease was written.
    #[derive(Default)]
    struct Flapping {
        presence: OnceLock<Presence>,
        epoch: AtomicU64,
        reads: AtomicUsize,
    }

    #[async_trait]
    impl Faults for Flapping {
        async fn at(&self, point: Point) -> Result<()> {
            match (point, self.presence.get()) {
                (Point::AfterCommit, Some(presence)) => {
                    presence.end(AgentId::new(), self.epoch.fetch_add(1, Ordering::SeqCst));
                }
                (Point::Read, _) => {
                    self.reads.fetch_add(1, Ordering::SeqCst);
                }
                (Point::AfterCommit, None) | (Point::BeforeWrite, _) => {}
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn links_that_flap_keep_nobody_from_looking_for_signs_of_life() {
        let flapping = Arc::new(Flapping::default());
        let store = Store::from(MemoryStore::with_faults(flapping.clone()));
        let directory = Directory::load(store.clone()).await.unwrap();
        let (links, _inbox) = Links::new(Config::default());
        let presence = Presence::new(links, Reachable::new(Duration::ZERO));
        let before = flapping.reads.load(Ordering::SeqCst);
        assert!(flapping.presence.set(presence.clone()).is_ok());
        presence.end(AgentId::new(), 0);
        let running = tokio::spawn(presence.run(store, directory));
        // Nobody is here: then the store is asked whether it is.
        let asked = async {
            while flapping.reads.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), asked).await.expect("a look");
        running.abort();
    }
}
