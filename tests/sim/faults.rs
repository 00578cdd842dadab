//! What goes wrong in one run, drawn from its seed, and the proof that it did.

use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::{
    net::{CLOUD, Counts},
    script::AGENTS,
    world::Shared,
};

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nothing passes between an agent and the cloud.
    TwoWay,
    /// Nothing reaches the cloud.
    OneWayUp,
    /// Nothing reaches the agent.
    OneWayDown,
    /// Everything is kept, and delivered at the end.
    Hold,
    /// The agent's process dies and is started again; its runners go on.
    AgentCrash,
    /// The cloud dies and is started again; its store is durable.
    CloudCrash,
    /// The cloud closes one link.
    LinkCut,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 7] = [
        Self::TwoWay,
        Self::OneWayUp,
        Self::OneWayDown,
        Self::Hold,
        Self::AgentCrash,
        Self::CloudCrash,
        Self::LinkCut,
    ];
}

/// One fault of a run.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    agent: &'static str,
    at: Duration,
    until: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Due,
    /// Begun; what was under way is still arriving.
    Begun(Counts),
    /// The counters once everything under way had arrived.
    Settled(Counts),
    Over,
}

/// A fault that did what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fired {
    /// Which kind.
    pub(crate) kind: Kind,
    /// Bytes were sent into it, and did not arrive while it lasted.
    pub(crate) bit: bool,
}

/// Shortest way of a message.
pub(crate) const LATENCY_MIN: Duration = Duration::from_millis(1);
/// Longest way of a message; what was sent before a fault may arrive so long after its begin.
pub(crate) const LATENCY_MAX: Duration = Duration::from_millis(40);

impl Fault {
    /// Draws the faults of a run, one after the other: turmoil cannot hold and part the same two hosts at once.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let mut at = Duration::from_millis(rng.u64(0..2_000));
        (0..rng.u32(2..5))
            .map(|_| {
                let lasts = Duration::from_millis(if rng.bool() {
                    rng.u64(200..2_500)
                } else {
                    rng.u64(2_500..14_000)
                });
                let kind = Kind::ALL[rng.usize(0..Kind::ALL.len())];
                let fault = Self {
                    kind,
                    agent: AGENTS[rng.usize(0..2)],
                    at,
                    until: at + lasts,
                    state: State::Due,
                };
                at = fault.until + Duration::from_millis(rng.u64(100..4_000));
                fault
            })
            .collect()
    }

    /// Begins, watches or ends it, as the time is. `now` counts from the start of the work.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, shared: &Shared, now: Duration) -> Option<Fired> {
        let counts = shared.meter.of(self.agent);
        match self.state {
            State::Due if now >= self.at => {
                self.begin(sim, shared);
                shared.trace(format!("{:?} of {} begins", self.kind, self.agent));
                self.state = State::Begun(counts);
            }
            State::Begun(_) if now >= self.at + LATENCY_MAX * 2 => self.state = State::Settled(counts),
            State::Settled(before) if now >= self.until => {
                let fired = self.end(sim, shared, before, counts);
                shared.trace(format!("{:?} of {} ends", self.kind, self.agent));
                self.state = State::Over;
                return Some(fired);
            }
            State::Due | State::Begun(_) | State::Settled(_) | State::Over => {}
        }
        None
    }

    /// Says whether nothing is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn begin(&self, sim: &mut Sim<'_>, shared: &Shared) {
        match self.kind {
            Kind::TwoWay => sim.partition(self.agent, CLOUD),
            Kind::OneWayUp => sim.partition_oneway(self.agent, CLOUD),
            Kind::OneWayDown => sim.partition_oneway(CLOUD, self.agent),
            Kind::Hold => sim.hold(self.agent, CLOUD),
            Kind::AgentCrash => {
                assert!(sim.is_host_running(self.agent), "the agent was dead before the fault");
                crash(sim, self.agent);
            }
            Kind::CloudCrash => {
                assert!(sim.is_host_running(CLOUD), "the cloud was dead before the fault");
                crash(sim, CLOUD);
            }
            Kind::LinkCut => shared.cut(self.agent),
        }
    }

    /// Ends it and proves that it was there.
    fn end(&self, sim: &mut Sim<'_>, shared: &Shared, before: Counts, after: Counts) -> Fired {
        let up_is_dead = before.up_received == after.up_received;
        let down_is_dead = before.down_received == after.down_received;
        let sent = (after.up_sent > before.up_sent, after.down_sent > before.down_sent);
        let bit = match self.kind {
            Kind::TwoWay => {
                sim.repair(self.agent, CLOUD);
                assert!(
                    up_is_dead && down_is_dead,
                    "bytes passed a partition: {before:?} {after:?}"
                );
                sent.0 || sent.1
            }
            Kind::OneWayUp => {
                sim.repair_oneway(self.agent, CLOUD);
                assert!(up_is_dead, "bytes passed a partition: {before:?} {after:?}");
                sent.0
            }
            Kind::OneWayDown => {
                sim.repair_oneway(CLOUD, self.agent);
                assert!(down_is_dead, "bytes passed a partition: {before:?} {after:?}");
                sent.1
            }
            Kind::Hold => {
                sim.release(self.agent, CLOUD);
                assert!(up_is_dead && down_is_dead, "bytes passed a hold: {before:?} {after:?}");
                sent.0 || sent.1
            }
            Kind::AgentCrash => {
                assert!(!sim.is_host_running(self.agent), "the agent lived through its crash");
                sim.bounce(self.agent);
                true
            }
            Kind::CloudCrash => {
                assert!(!sim.is_host_running(CLOUD), "the cloud lived through its crash");
                sim.bounce(CLOUD);
                true
            }
            Kind::LinkCut => shared.was_cut(self.agent),
        };
        Fired { kind: self.kind, bit }
    }
}

/// Kills a host; the ends of its connections leave at once.
///
/// A runtime that is dropped drops its tasks, and so their connections, in an order that hangs on how many tasks the
/// process ever had, and the last message of each draws its latency. With one latency for all, the order is nothing.
fn crash(sim: &mut Sim<'_>, host: &str) {
    sim.set_max_message_latency(LATENCY_MIN);
    sim.crash(host);
    sim.set_max_message_latency(LATENCY_MAX);
}
