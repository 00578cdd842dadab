//! What a run will be like, drawn from its seed: which kinds of trouble there are, what people do, and how each machine
//! fares.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    damage::Damage,
    faults::{Fault, Kind},
    script::Job,
};

/// The agents of every run.
pub(crate) const AGENTS: [&str; 3] = ["agent-1", "agent-2", "agent-3"];
/// The one that may be removed, or never come back.
pub(crate) const DOOMED: &str = AGENTS[2];

/// How long a machine may be gone before what ran there is called lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(75);
/// How long a cloud that has just come up, or has its store again, gives nobody up: the longest pause between two dials,
/// the dial, and the time between two looks for the store.
pub(crate) const RETURN_WITHIN: Duration = Duration::from_secs(76);

/// How long a machine that went away may take to say what became of what it was handed, after the last moment at which
/// that may start.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Everything that is decided before a run begins.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Tasks.
    pub(crate) jobs: Vec<Job>,
    /// What people do, in the order of its time.
    pub(crate) errands: Vec<Errand>,
    /// Of the network, of processes and of disks, one after the other.
    pub(crate) faults: Vec<Fault>,
    /// Of the store, all the time.
    pub(crate) mood: Mood,
    /// Of agents: per thousand steps of their launchers, how often the process dies there.
    pub(crate) agent_kills: u32,
    /// Attempts at work at the same time, per agent.
    pub(crate) slots: usize,
    /// The database is replaced by an older copy.
    pub(crate) failover: Option<Failover>,
    /// What becomes of the last agent.
    pub(crate) fate: Fate,
    /// Agents' clocks are this much off, in seconds.
    pub(crate) skew_secs: [i64; 3],
    /// When trouble ends.
    pub(crate) over_at: Duration,
    /// Agents to which frames may come late: their link is held for a while.
    pub(crate) held: Vec<&'static str>,
    /// Agents whose disk is full for a while.
    pub(crate) full: Vec<&'static str>,
    /// The longest time for which the store is away.
    pub(crate) store_is_away_for: Duration,
    /// For a long time the cloud is away, or its store, and no agent ever is.
    pub(crate) only_the_cloud_is_away: bool,
    /// Of signals within the cloud.
    pub(crate) deafness: Deafness,
    /// The cloud is one that can stand still, and does so in this way.
    pub(crate) standstill: Option<Standstill>,
    /// The row of one execution cannot be read.
    pub(crate) damage: Option<Damage>,
}

/// How a cloud stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// Its process is stopped: all clocks go on meanwhile.
    Stopped,
    /// Its machine is suspended: the clock on the wall goes on, the one that counts from the start does not.
    Suspended,
}

/// Which signals within the cloud get lost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deafness {
    /// Per thousand.
    pub(crate) of_thousand: u32,
    /// Decides about each.
    pub(crate) seed: u64,
}

/// What becomes of the last agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing special.
    Stays,
    /// Somebody removes it.
    Removed,
    /// Its machine dies for good.
    Gone(Duration),
}

/// The database is replaced by an older copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failover {
    /// When the copy is made.
    pub(crate) copied_at: Duration,
    /// When it replaces the database.
    pub(crate) at: Duration,
    /// The cloud is started again with it.
    pub(crate) restarts: bool,
}

/// How the store behaves, per thousand calls at each point.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mood {
    /// Others get a turn.
    pub(crate) yields: u32,
    /// It takes its time.
    pub(crate) slow: u32,
    /// How long at most, in milliseconds.
    pub(crate) slow_max_ms: u64,
    /// It refuses before anything was done.
    pub(crate) refuses: u32,
    /// It does what was asked, and its answer is lost.
    pub(crate) loses: u32,
    /// The process of the cloud dies there.
    pub(crate) kills: u32,
    /// How often at most.
    pub(crate) kills_max: u32,
}

/// Something that somebody does.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// When, from the start of the work.
    pub(crate) at: Duration,
    /// What.
    pub(crate) deed: Deed,
    /// After how long each of the first tries is dropped by its caller.
    pub(crate) vanishes: Vec<Duration>,
    /// The whole connection goes with the call.
    pub(crate) hangs_up: bool,
    /// It is not tried again after the caller vanished.
    pub(crate) gives_up: bool,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Creates this task.
    Create(usize),
    /// Cancels it.
    Cancel(usize),
    /// Retries it once it has ended.
    Retry(usize),
    /// Removes the last agent.
    Remove,
}

impl Plan {
    /// Draws the plan of a run.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        // Kinds of trouble come alone as well as together: what one does, another may mend.
        let mut has = |of: u32| rng.u32(0..of) == 0;
        let (vanishing, slow, failing, network) = (has(2), has(2), has(3), has(2));
        let (failing_over, dying) = (has(7), has(4));

        let mut jobs = Job::draw(rng);
        let mut errands = Vec::new();
        for number in 0..jobs.len() {
            errands.push(Errand::draw(rng, jobs[number].at, Deed::Create(number), vanishing));
            // The watched one is created whatever happens.
            if number == 0 {
                errands[0].gives_up = false;
            }
            Self::draw_further(rng, &mut jobs, number, vanishing, &mut errands);
        }
        let last = jobs.last().map_or(Duration::ZERO, |job| job.at);
        let fate = match rng.u32(0..6) {
            0 | 1 => {
                let at = Duration::from_millis(rng.u64(500..9_000));
                errands.push(Errand::draw(rng, at, Deed::Remove, vanishing));
                Fate::Removed
            }
            2 => Fate::Gone(Duration::from_millis(rng.u64(500..12_000))),
            _ => Fate::Stays,
        };
        if let Some(removal) = errands.iter_mut().find(|errand| errand.deed == Deed::Remove) {
            removal.gives_up = false;
        }
        if let Fate::Gone(_) = fate {
            // What waits for a machine that never comes back ends with its time in the queue: a short one.
            for job in jobs.iter_mut().filter(|job| job.agents.contains(&DOOMED)) {
                job.ttl = Some(Duration::from_secs(rng.u64(1..20)));
            }
        }
        errands.sort_by_key(|errand| errand.at);
        let faults = if network { Fault::draw(rng) } else { Vec::new() };
        let mood = Mood {
            yields: 200,
            slow: if slow { rng.u32(50..600) } else { 0 },
            slow_max_ms: rng.u64(5..120),
            refuses: if failing { rng.u32(1..80) } else { 0 },
            loses: if failing { rng.u32(1..80) } else { 0 },
            kills: if dying { rng.u32(2..30) } else { 0 },
            kills_max: rng.u32(1..4),
        };
        let failover = failing_over.then(|| {
            let copied_at = Duration::from_millis(rng.u64(200..6_000));
            Failover {
                copied_at,
                at: copied_at + Duration::from_millis(rng.u64(300..6_000)),
                restarts: rng.bool(),
            }
        });
        let skewed = rng.u32(0..4) == 0;
        let skew_secs = std::array::from_fn(|_| if skewed { rng.i64(-7_200..7_200) } else { 0 });
        let with = |kind| {
            let concerned = |agent: &&str| faults.iter().any(|fault| fault.is(kind, agent));
            AGENTS.into_iter().filter(concerned).collect::<Vec<_>>()
        };
        let mut ends = vec![last + Duration::from_secs(3)];
        ends.extend(faults.iter().map(Fault::ends_at));
        ends.extend(failover.map(|failover| failover.at));
        ends.extend(errands.iter().map(|errand| errand.at + Duration::from_secs(1)));
        if let Fate::Gone(at) = fate {
            ends.push(at);
        }
        let mut plan = Self {
            held: with(Kind::Hold),
            full: with(Kind::DiskFull),
            store_is_away_for: if with(Kind::StoreAway).is_empty() {
                Duration::ZERO
            } else {
                Fault::LONGEST
            },
            only_the_cloud_is_away: false,
            jobs,
            errands,
            faults,
            mood,
            agent_kills: if rng.u32(0..4) == 0 { rng.u32(1..40) } else { 0 },
            slots: rng.usize(1..5),
            failover,
            fate,
            skew_secs,
            over_at: ends.into_iter().max().unwrap_or_default(),
            // Some of them, or all.
            deafness: Deafness {
                of_thousand: if rng.u32(0..3) == 0 { rng.u32(50..1_001) } else { 0 },
                seed: rng.u64(..),
            },
            standstill: None,
            damage: None,
        };
        plan.draw_outage(rng);
        // What came later is drawn last: a seed that has none of it is the run that it was.
        plan.draw_standstill(rng);
        plan.draw_damage(rng);
        plan
    }

    fn draw_further(rng: &mut Rng, jobs: &mut [Job], number: usize, vanishing: bool, errands: &mut Vec<Errand>) {
        let at = jobs[number].at;
        match rng.u32(0..8) {
            // At once, or after a while.
            0 | 1 => {
                let after = Duration::from_millis(if rng.bool() { rng.u64(0..60) } else { rng.u64(60..5_000) });
                errands.push(Errand::draw(rng, at + after, Deed::Cancel(number), vanishing));
                if rng.bool() {
                    jobs[number].make_endless();
                    // Nothing else would end it.
                    if let Some(errand) = errands.last_mut() {
                        errand.gives_up = false;
                    }
                }
            }
            2 if number > 0 => {
                let at = at + Duration::from_millis(rng.u64(100..6_000));
                for _ in 0..rng.u32(1..3) {
                    errands.push(Errand::draw(rng, at, Deed::Retry(number), vanishing));
                }
            }
            _ => {}
        }
    }

    /// Says whether somebody wants to do this.
    pub(crate) fn wants(&self, deed: Deed) -> bool {
        self.errands.iter().any(|errand| errand.deed == deed)
    }
}

impl Errand {
    /// Draws how somebody does this.
    pub(crate) fn draw(rng: &mut Rng, at: Duration, deed: Deed, vanishing: bool) -> Self {
        let tries = if vanishing { rng.usize(0..3) } else { 0 };
        Self {
            at,
            deed,
            vanishes: (0..tries).map(|_| Duration::from_millis(rng.u64(5..220))).collect(),
            hangs_up: rng.bool(),
            gives_up: tries > 0 && rng.u32(0..3) == 0,
        }
    }
}
