//! Looks where nobody looked: at start, and by a timer. What a lost signal, a lost answer or a death of the process left
//! undone is found here. It looks by itself, never by a signal, which may be lost as the first one was.

use std::time::Duration;

use opslink::id::AgentId;
use tokio::time::{MissedTickBehavior, interval};

use super::{attach::Attach, commit::Commit, dispatch::Dispatch, presence::Presence};

/// Agents that are looked at without a reason at each tick, one after the other: some queries each.
const AGENTS_PER_TICK: usize = 64;

/// Sweeps until it is dropped.
pub(super) struct Sweep {
    pub(super) commit: Commit,
    pub(super) dispatch: Dispatch,
    pub(super) presence: Presence,
    pub(super) attach: Attach,
    pub(super) every: Duration,
}

impl Sweep {
    pub(super) async fn run(self) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            tick.tick().await;
            self.commit.book.sweep(|agent| self.presence.is_here(agent));
            self.attach.sweep();
            for agent in self.commit.book.neglected() {
                self.dispatch.look_soon(agent);
            }
            last = self.look_round(last);
        }
    }

    /// Looks at the next few agents that are here, after this one: whatever was missed about them is found in turn.
    fn look_round(&self, after: Option<AgentId>) -> Option<AgentId> {
        let mut agents = self.presence.here();
        agents.retain(|agent| after.is_none_or(|after| *agent > after));
        agents.truncate(AGENTS_PER_TICK);
        for agent in &agents {
            self.commit.book.set_doubt(*agent);
            self.dispatch.look_soon(*agent);
        }
        // Absent at the end of the round: the next one begins anew.
        agents.get(AGENTS_PER_TICK.saturating_sub(1)).copied()
    }
}
