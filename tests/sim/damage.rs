//! The row of one execution cannot be read, for a moment or for ever. That execution may come to anything; all others go on
//! and end.

use std::time::Duration;

use fastrand::Rng;
use opslink_cloud::store::memory::MemoryStore;

use crate::{plan::Plan, script::Job, shared::Shared, weather::Weather};

/// One run in so many has a damaged row.
const ONE_IN: u32 = 8;

/// Which row, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damage {
    job: usize,
    agent: &'static str,
    at: Duration,
    /// Absent: for ever.
    lasts: Option<Duration>,
}

impl Plan {
    /// Draws, for some runs, a row that is damaged while its execution may be at work.
    ///
    /// Of a task that spreads all at once: one that is at work for ever, as far as its store can say, keeps its place in a
    /// rollout. Not the one that is watched, which is watched to its end; and not one that only a cancel ends, since no
    /// cancel reaches such a row.
    pub(crate) fn draw_damage(&mut self, rng: &mut Rng) {
        let is_plain = |job: &&Job| job.max_parallel == 0 && job.max_failures == 0 && !job.is_endless();
        let jobs: Vec<&Job> = self.jobs.iter().skip(1).filter(is_plain).collect();
        // A database that goes back in time may have the row in its copy.
        if rng.u32(0..ONE_IN) != 0 || jobs.is_empty() || self.failover.is_some() {
            return;
        }
        let job = jobs[rng.usize(0..jobs.len())];
        let damage = Damage {
            job: job.number(),
            agent: job.agents[rng.usize(0..job.agents.len())],
            at: job.at + Duration::from_millis(rng.u64(0..2_500)),
            lasts: rng.bool().then(|| Duration::from_millis(rng.u64(500..6_000))),
        };
        self.over_at = self.over_at.max(damage.at);
        self.damage = Some(damage);
    }

    /// The execution of [`Plan::damage`].
    pub(crate) fn damaged(&self) -> Option<(&Job, &'static str)> {
        self.damage.map(|damage| (&self.jobs[damage.job], damage.agent))
    }
}

/// Makes it come true, in its time.
#[derive(Debug, Default)]
pub(crate) struct Sector(State);

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Whole,
    Damaged(Duration),
    Mended,
}

impl Sector {
    /// `now` counts from the start of the work.
    pub(crate) fn step(&mut self, memory: &MemoryStore, weather: &Weather, shared: &Shared, now: Duration) {
        let Some((damage, (job, agent))) = shared.plan.damage.zip(shared.plan.damaged()) else {
            return;
        };
        match self.0 {
            State::Whole if now >= damage.at => {
                let row =
                    memory.find_execution(|task, execution| task.reason == job.name() && execution.agent_name == agent);
                // Somebody may not have been told yet that it was created, or has been told that it was not.
                if row.is_some() {
                    weather.set_damaged(row);
                    shared.note_damage();
                    shared.trace(format_args!("{} on {agent} cannot be read", job.name()));
                    self.0 = State::Damaged(now);
                }
            }
            State::Damaged(at) if damage.lasts.is_some_and(|lasts| now >= at + lasts) => {
                weather.set_damaged(None);
                shared.trace(format_args!("{} on {agent} can be read again", job.name()));
                self.0 = State::Mended;
            }
            State::Whole | State::Damaged(_) | State::Mended => {}
        }
    }

    /// Says whether nothing is left to do.
    pub(crate) fn is_quiet(&self, plan: &Plan) -> bool {
        let lasts = plan.damage.and_then(|damage| damage.lasts);
        !matches!(self.0, State::Damaged(_)) || lasts.is_none()
    }
}
