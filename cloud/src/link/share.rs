//! What one agent may have waiting for the store, say in vain, and tell everybody, so that all others stand behind little
//! of it.
//!
//! Kept per agent, not per link: one that dials again gets no more of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use opslink::{chunk, id::AgentId, problem::Problem, reason::Reason};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    Links,
    budget::{Facts, Vain},
};

/// Bytes of chunks of one agent that may wait: a 16th of what all agents have.
const SHARE_BYTES: usize = 4 << 20;
/// Chunks of one agent that may wait: a 32nd of the queue.
const SHARE_CHUNKS: usize = 256;
/// Least that a chunk takes of the bytes, which bounds their number too.
const CHUNK_LEAST: usize = SHARE_BYTES / SHARE_CHUNKS;
/// What a chunk takes beside its encoded length, in bytes of memory: it was bounded before, so this is its own frame of
/// fields and a handful of digests.
pub(super) const CHUNK_OVERHEAD: usize = 512;

// The largest chunk fits, with all that may stand beside its payload and its end counted thrice, or it would take less than
// it is.
const _: () = assert!(chunk::PAYLOAD_MAX + (20 << 10) + CHUNK_OVERHEAD <= SHARE_BYTES);

/// Room among an agent's chunks, and in memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct ChunkRoom {
    own: OwnedSemaphorePermit,
    common: OwnedSemaphorePermit,
}

impl ChunkRoom {
    pub(super) const fn new(own: OwnedSemaphorePermit, common: OwnedSemaphorePermit) -> Self {
        Self { own, common }
    }

    /// What is left of it when only the chunk's end waits: an outcome is cut to less than the least of a chunk.
    pub(crate) fn of_its_end(mut self) -> Self {
        for permits in [&mut self.own, &mut self.common] {
            let surplus = permits.num_permits().saturating_sub(CHUNK_LEAST);
            drop(permits.split(surplus));
        }
        self
    }
}

/// The share of one agent.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Semaphore>,
    vain: Mutex<Vain>,
    facts: Mutex<Facts>,
}

impl Share {
    fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(SHARE_BYTES)),
            vain: Mutex::new(Vain::new(Instant::now())),
            facts: Mutex::new(Facts::new(Instant::now())),
        }
    }

    /// Waits until the agent has room for a chunk of so many bytes. What it waits for is in the queue or in a commit,
    /// so it ends without anything else of this agent being read. None never comes: the room is not closed.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.clamp(CHUNK_LEAST, SHARE_BYTES)).ok()?;
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }

    fn vain(&self) -> MutexGuard<'_, Vain> {
        self.vain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether what the agent says about itself may be told to everybody now.
    pub(super) fn may_tell(&self) -> bool {
        self.facts().take(Instant::now())
    }

    fn is_unused(&self) -> bool {
        let now = Instant::now();
        self.room.available_permits() == SHARE_BYTES && self.vain().is_full(now) && self.facts().is_full(now)
    }
}

/// The shares of all agents that are here, or were and have used theirs: at most one per agent.
#[derive(Debug, Default)]
pub(super) struct Shares(DashMap<AgentId, Arc<Share>>);

impl Shares {
    pub(super) fn of(&self, agent_id: AgentId) -> Arc<Share> {
        let share = self.0.entry(agent_id).or_insert_with(|| Arc::new(Share::new()));
        Arc::clone(share.value())
    }

    /// A link that holds this share ends: an unused one that no other link holds goes.
    pub(super) fn forget(&self, agent_id: AgentId) {
        // One here, one in the link.
        let is_last = |share: &Arc<Share>| Arc::strong_count(share) <= 2;
        self.0
            .remove_if(&agent_id, |_, share| is_last(share) && share.is_unused());
    }
}

impl Links {
    /// Notes a chunk of the agent that brought nothing. False when these were too many: its link is ended then, and
    /// the chunk is to be left alone.
    pub(crate) fn may_repeat(&self, agent_id: AgentId) -> bool {
        let share = self.0.shares.of(agent_id);
        let within = share.vain().take(Instant::now());
        if !within {
            let problem = Problem::new(Reason::FrameUnexpected).with("frame", "LogChunk");
            self.disconnect(agent_id, problem);
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_whose_output_is_stored_keeps_little_room() {
        let (share, common) = (Share::new(), Arc::new(Semaphore::new(8 << 20)));
        let own = share.take(3 << 20).await.unwrap();
        let room = ChunkRoom::new(own, Arc::clone(&common).try_acquire_many_owned(3 << 20).unwrap());
        let _room = room.of_its_end();
        assert_eq!(share.room.available_permits(), SHARE_BYTES - CHUNK_LEAST);
        assert_eq!(common.available_permits(), (8 << 20) - CHUNK_LEAST);
    }

    #[tokio::test]
    async fn a_share_goes_with_its_last_link_unless_it_is_used() {
        let (shares, agent) = (Shares::default(), AgentId::new());
        let old = shares.of(agent);
        let new = shares.of(agent);
        assert!(Arc::ptr_eq(&old, &new), "two links of an agent have one share");
        shares.forget(agent);
        assert_eq!(shares.0.len(), 1, "the other link holds it");
        drop(old);
        let waiting = new.take(1).await.unwrap();
        shares.forget(agent);
        assert_eq!(shares.0.len(), 1, "a chunk waits");
        drop(waiting);
        assert!(new.vain().take(Instant::now()));
        shares.forget(agent);
        assert_eq!(shares.0.len(), 1, "something came in vain");
        let told = AgentId::new();
        let share = shares.of(told);
        assert!(share.may_tell());
        shares.forget(told);
        drop(share);
        assert_eq!(shares.0.len(), 2, "it told everybody");
        let unused = AgentId::new();
        let share = shares.of(unused);
        shares.forget(unused);
        drop(share);
        assert_eq!(shares.0.len(), 2);
    }
}
