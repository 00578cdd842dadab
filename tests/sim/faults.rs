//! What goes wrong in one run, drawn from its seed, and the proof that it did.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    lives::{DeathNumber, Lives},
    net::{CLOUD, Counts},
    plan::{AGENTS, RETURN_WITHIN},
    stage::Stage,
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
    /// The database answers nobody.
    StoreAway,
    /// The disk of an agent's machine is full.
    DiskFull,
    /// The cloud is not run, and goes on without being started again.
    CloudStandsStill,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 10] = [
        Self::TwoWay,
        Self::OneWayUp,
        Self::OneWayDown,
        Self::Hold,
        Self::AgentCrash,
        Self::CloudCrash,
        Self::LinkCut,
        Self::StoreAway,
        Self::DiskFull,
        Self::CloudStandsStill,
    ];

    /// Those that may befall any run: all but the last.
    const OF_ANY_RUN: usize = Self::ALL.len() - 1;
}

/// One fault of a run.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    agent: &'static str,
    at: Duration,
    until: Duration,
    state: State,
    /// It was seen to do what it should.
    bit: bool,
    /// Of whoever it killed.
    death: Option<DeathNumber>,
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

/// A fault that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fired {
    /// Which kind.
    pub(crate) kind: Kind,
    /// It was seen to do what it should: bytes were sent into it and did not arrive, somebody who ran died and came back,
    /// the store or the disk refused something.
    pub(crate) bit: bool,
}

/// Shortest way of a message.
pub(crate) const LATENCY_MIN: Duration = Duration::from_millis(1);
/// Longest way of a message; what was sent before a fault may arrive so long after its begin.
pub(crate) const LATENCY_MAX: Duration = Duration::from_millis(40);

impl Fault {
    /// None that is drawn here lasts longer.
    pub(crate) const LONGEST: Duration = Duration::from_secs(10);

    /// Draws the faults of a run, one after the other: turmoil cannot hold and part the same two hosts at once.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let mut at = Duration::from_millis(rng.u64(0..2_000));
        (0..rng.u32(1..5))
            .map(|_| {
                let lasts = Duration::from_millis(if rng.bool() {
                    rng.u64(200..2_500)
                } else {
                    rng.u64(2_500..9_000)
                });
                let kind = Kind::ALL[rng.usize(0..Kind::OF_ANY_RUN)];
                let fault = Self::new(kind, AGENTS[rng.usize(0..AGENTS.len())], at, lasts);
                at = fault.until + Duration::from_millis(rng.u64(100..3_000));
                fault
            })
            .collect()
    }

    /// Makes one that begins at this time.
    pub(crate) fn new(kind: Kind, agent: &'static str, at: Duration, lasts: Duration) -> Self {
        Self {
            kind,
            agent,
            at,
            until: at + lasts,
            state: State::Due,
            bit: false,
            death: None,
        }
    }

    /// When it is over.
    pub(crate) fn ends_at(&self) -> Duration {
        self.until
    }

    /// Says whether it is one of this kind.
    pub(crate) fn is_of(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    /// Says whether it is one of this kind that concerns the agent.
    pub(crate) fn is(&self, kind: Kind, agent: &str) -> bool {
        self.is_of(kind) && self.agent == agent
    }

    /// Begins, watches or ends it, as the time is. `now` counts from the start of the work.
    pub(crate) fn step(&mut self, stage: &mut Stage<'_, '_>, now: Duration) {
        let counts = stage.shared.meter.of(self.agent);
        match self.state {
            State::Due if now >= self.at => {
                self.begin(stage);
                stage.shared.trace(format!("{:?} of {} begins", self.kind, self.agent));
                self.state = State::Begun(counts);
            }
            State::Begun(_) if now >= self.at + LATENCY_MAX * 2 => self.state = State::Settled(counts),
            State::Settled(before) if now >= self.until => {
                self.bit = self.end(stage, before, counts);
                stage.shared.trace(format!("{:?} of {} ends", self.kind, self.agent));
                self.state = State::Over;
            }
            State::Due | State::Begun(_) | State::Settled(_) | State::Over => {}
        }
    }

    /// Says whether nothing is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What it came to by the end of the run, if it is over: whoever died may come back late.
    pub(crate) fn fired(&self, lives: &Lives) -> Option<Fired> {
        let bit = match self.kind {
            Kind::AgentCrash | Kind::CloudCrash => self.death.is_some_and(|death| lives.came_back(death)),
            Kind::TwoWay
            | Kind::OneWayUp
            | Kind::OneWayDown
            | Kind::Hold
            | Kind::LinkCut
            | Kind::StoreAway
            | Kind::DiskFull
            | Kind::CloudStandsStill => self.bit,
        };
        self.is_over().then_some(Fired { kind: self.kind, bit })
    }

    fn begin(&mut self, stage: &mut Stage<'_, '_>) {
        let sim = &mut *stage.sim;
        match self.kind {
            Kind::TwoWay => sim.partition(self.agent, CLOUD),
            Kind::OneWayUp => sim.partition_oneway(self.agent, CLOUD),
            Kind::OneWayDown => sim.partition_oneway(CLOUD, self.agent),
            Kind::Hold => sim.hold(self.agent, CLOUD),
            Kind::AgentCrash => self.death = stage.graves.bury(sim, self.agent, Some(self.until)),
            Kind::CloudCrash => self.death = stage.graves.bury(sim, CLOUD, Some(self.until)),
            Kind::LinkCut => stage.shared.cut(self.agent),
            Kind::StoreAway => stage.weather.go_away(),
            Kind::DiskFull => {
                stage.machine(self.agent).set_disk_full(true);
            }
            Kind::CloudStandsStill => stage.process().stand_still(),
        }
    }

    /// Ends it, and says whether it was seen to be there.
    fn end(&self, stage: &mut Stage<'_, '_>, before: Counts, after: Counts) -> bool {
        let sim = &mut *stage.sim;
        let up_is_dead = before.up_received == after.up_received;
        let down_is_dead = before.down_received == after.down_received;
        let sent = (after.up_sent > before.up_sent, after.down_sent > before.down_sent);
        match self.kind {
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
            // Whoever buried them brings them back, which is seen later.
            Kind::AgentCrash | Kind::CloudCrash => false,
            Kind::LinkCut => stage.shared.was_cut(self.agent),
            Kind::StoreAway => {
                let away = stage.weather.come_back();
                if away.lasted() > RETURN_WITHIN {
                    stage.shared.tally.count("store was away for long");
                }
                away.was_noticed()
            }
            Kind::DiskFull => stage.machine(self.agent).set_disk_full(false),
            Kind::CloudStandsStill => {
                stage.process().go_on();
                let is_silent = before.down_sent == after.down_sent;
                assert!(is_silent, "a cloud that stood still spoke: {before:?} {after:?}");
                sent.0
            }
        }
    }
}
