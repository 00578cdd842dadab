//! An outage that is longer than all the times after which somebody is given up: the store answers nobody, or the cloud
//! is dead, or stands still. Agents and what runs there were never away.

use std::time::Duration;

use fastrand::Rng;
use opslink::task::FakeStep;

use crate::{
    faults::{Fault, Kind},
    plan::{AGENTS, Deed, Errand, Plan, Standstill},
    script::{Job, LONG},
};

/// One run in so many has an outage: a run takes twice as long with it.
const ONE_IN: u32 = 12;
/// The same of a cloud that stands still.
const STANDS_STILL_ONE_IN: u32 = 10;
/// Longer than an agent pauses between two dials, than a task may take to its start, and than a cloud waits for the
/// agents to return; with the first pause after it also longer than a machine may be gone. In milliseconds.
const LASTS_MS: std::ops::Range<u64> = 78_000..86_000;
/// Turns of a task that goes on through an outage.
const TURNS: u32 = 8;

impl Plan {
    /// Draws, for some runs, an outage that begins when all other trouble is over, and tasks that meet it.
    pub(crate) fn draw_outage(&mut self, rng: &mut Rng) {
        if rng.u32(0..ONE_IN) != 0 {
            return;
        }
        let (at, lasts) = self.draw_time(rng);
        if rng.bool() {
            self.store_is_away_for = lasts;
            self.faults.push(Fault::new(Kind::StoreAway, AGENTS[0], at, lasts));
            // Whose link breaks meanwhile cannot be greeted.
            for agent in AGENTS.into_iter().take(2) {
                let cut_at = at + lasts.mul_f64(rng.f64() * 0.9);
                if rng.bool() {
                    let cut = Fault::new(Kind::LinkCut, agent, cut_at, Duration::from_millis(500));
                    self.faults.push(cut);
                }
            }
        } else {
            self.faults.push(Fault::new(Kind::CloudCrash, AGENTS[0], at, lasts));
        }
        self.draw_tasks(rng, at, lasts);
        self.over_at = at + lasts;
    }

    /// Draws, for some runs, a cloud that stands still for so long. One that never dies, and that has no other outage.
    pub(crate) fn draw_standstill(&mut self, rng: &mut Rng) {
        let dies = self.mood.kills > 0
            || self.failover.is_some()
            || self.faults.iter().any(|fault| fault.is_of(Kind::CloudCrash));
        let has_outage = self.store_is_away_for > Fault::LONGEST;
        if rng.u32(0..STANDS_STILL_ONE_IN) != 0 || dies || has_outage {
            return;
        }
        let (at, lasts) = self.draw_time(rng);
        self.standstill = Some(match rng.bool() {
            true => Standstill::Stopped,
            false => Standstill::Suspended,
        });
        let fault = Fault::new(Kind::CloudStandsStill, AGENTS[0], at, lasts);
        self.faults.push(fault);
        self.draw_tasks(rng, at, lasts);
        self.over_at = at + lasts;
    }

    /// When it begins, and for how long it lasts.
    fn draw_time(&mut self, rng: &mut Rng) -> (Duration, Duration) {
        // By then people have been told what they asked for, and its tasks have begun.
        let at = self.over_at + Duration::from_millis(rng.u64(2_000..3_000));
        let lasts = Duration::from_millis(rng.u64(LASTS_MS));
        self.only_the_cloud_is_away = self.faults.is_empty() && self.failover.is_none() && self.agent_kills == 0;
        (at, lasts)
    }

    /// Some that run all the time, as many as there are slots at most, and some that come too late for their turn.
    fn draw_tasks(&mut self, rng: &mut Rng, at: Duration, lasts: Duration) {
        for _ in 0..rng.usize(1..=self.slots) {
            let number = self.jobs.len();
            let time = Duration::from_millis(rng.u64(10_000..lasts.as_millis() as u64 + 6_000));
            let mut job = job(number, at - Duration::from_millis(rng.u64(300..1_500)));
            for turn in 0..TURNS {
                job.steps.push(FakeStep::Sleep(time / TURNS));
                job.steps.push(FakeStep::Stdout(format!("turn {turn}\n").into()));
            }
            job.ttl = rng.bool().then_some(LONG);
            self.errands
                .push(Errand::draw(rng, job.at, Deed::Create(number), false));
            if rng.u32(0..3) == 0 {
                // Somebody asks for its end while nobody can answer, for not too long: each try costs a dial.
                let asked_at = at + lasts - Duration::from_millis(rng.u64(0..4_000));
                self.errands
                    .push(Errand::draw(rng, asked_at, Deed::Cancel(number), false));
            }
            self.jobs.push(job);
        }
        for _ in 0..2 {
            let number = self.jobs.len();
            let mut job = job(number, at - Duration::from_millis(rng.u64(200..1_200)));
            job.steps
                .push(FakeStep::Sleep(Duration::from_millis(rng.u64(1..2_500))));
            job.ttl = (rng.u32(0..3) == 0).then_some(LONG);
            (job.max_parallel, job.max_failures) = (rng.u32(0..2), rng.u32(0..2));
            self.errands
                .push(Errand::draw(rng, job.at, Deed::Create(number), false));
            self.jobs.push(job);
        }
        self.errands.sort_by_key(|errand| errand.at);
    }
}

/// A task that does nothing yet, on the machines that stay.
fn job(number: usize, at: Duration) -> Job {
    Job {
        marker: format!("task {number}\n"),
        at,
        steps: Vec::new(),
        rows: None,
        agents: AGENTS[..2].to_vec(),
        max_parallel: 0,
        max_failures: 0,
        timeout: LONG,
        ttl: Some(LONG),
    }
}
