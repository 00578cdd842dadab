//! T02, T03, T05, T09, the agent's half: an agent, a fork server or a runner dies between any two steps, twenty times at
//! each place, and every attempt has run at most once and has an honest end.
//!
//! Twenty agents die at once, each on its own state: that is twenty rounds in the time of one. The agents say on their
//! standard error which crash point they died at.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use opslink::{id::AttemptId, time::UnixMicros};
use opslink_agent::journal::{Fence, Unstarted};
use opslink_harness::{Fleet, wait_for};

use crate::support::{LIMIT, detached, executions, text};

const ROUNDS: usize = 20;

/// Who dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dies {
    Agent,
    /// The fork server or the runner: the agent lives.
    Helper,
}

/// How a crash point is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a task that says something and ends.
    Task,
    /// By a task that waits and is canceled.
    Cancel,
    /// By a task that kills its runner.
    KilledRunner,
    /// By a start that finds a fence full of what nobody needs any more, and writes it anew.
    OldFence,
}

/// A place and the ends that an attempt may have that met it.
struct Point {
    name: &'static str,
    dies: Dies,
    way: Way,
    ends: &'static [&'static str],
}

const fn agent(name: &'static str, ends: &'static [&'static str]) -> Point {
    Point {
        name,
        dies: Dies::Agent,
        way: Way::Task,
        ends,
    }
}

const fn helper(name: &'static str, ends: &'static [&'static str]) -> Point {
    Point {
        dies: Dies::Helper,
        ..agent(name, ends)
    }
}

const SUCCEEDED: &[&str] = &["SUCCEEDED"];
const NOTHING_RAN: &[&str] = &["REFUSED"];
const LOST: &[&str] = &["LOST"];

const POINTS: &[Point] = &[
    // Nothing was promised yet: the cloud hears that nothing ran, or sends it again.
    agent("launch.folder_made", &["REFUSED", "SUCCEEDED"]),
    agent("fence.written", &["REFUSED", "SUCCEEDED"]),
    agent("launch.taken", NOTHING_RAN),
    agent("launch.forked", SUCCEEDED),
    agent("courier.chunk_read", SUCCEEDED),
    agent("forget.acknowledged", SUCCEEDED),
    agent("forget.fence_closed", SUCCEEDED),
    Point {
        way: Way::Cancel,
        ..agent("launch.cancel_written", &["CANCELED"])
    },
    Point {
        way: Way::KilledRunner,
        ..agent("recover.end_appended", LOST)
    },
    Point {
        way: Way::OldFence,
        ..agent("fence.compacted", SUCCEEDED)
    },
    // The spare has its order and runs, whoever handed it over.
    helper("fork_server.handed_over", SUCCEEDED),
    helper("runner.locked", NOTHING_RAN),
    helper("runner.started", LOST),
    helper("runner.chunk_appended", &["SUCCEEDED", "LOST"]),
    helper("runner.end_appended", SUCCEEDED),
    helper("runner.end_recorded", SUCCEEDED),
];

/// Twenty agents, and what their tasks leave.
struct World {
    fleet: Fleet,
    witnesses: PathBuf,
}

impl World {
    fn start() -> Result<Self> {
        let mut fleet = Fleet::start(&[])?;
        for number in 0..ROUNDS {
            let url = fleet.cloud.url.clone();
            let agent = fleet.join_agent(&format!("crash-{number:02}"), "env=crash", &url)?;
            fleet.agents.push(agent);
        }
        let witnesses = fleet.path("witnesses");
        Ok(Self { fleet, witnesses })
    }

    fn script(&self, way: Way) -> String {
        let witness = format!("echo ran >> {}/$OPSLINK_ATTEMPT_ID", self.witnesses.display());
        match way {
            Way::Task | Way::OldFence => format!("{witness}; echo done"),
            Way::Cancel => format!("{witness}; exec sleep 1000"),
            Way::KilledRunner => format!("{witness}; kill -9 $PPID; exec sleep 1000"),
        }
    }

    fn round(&mut self, point: &Point) -> Result<()> {
        let _ = fs::remove_dir_all(&self.witnesses);
        fs::create_dir(&self.witnesses)?;
        let script = self.script(point.way);
        let args = ["-l", "env=crash", "--queue", "--", "sh", "-c", &script];
        let task = detached(&self.fleet.ctl, &args)?;
        for agent in &mut self.fleet.agents {
            if point.way == Way::OldFence {
                fill_with_old(&agent.state().join("fence"))?;
            }
            agent.launch_with(&[("OPSLINK_CRASH_AT", point.name)])?;
        }
        if point.way == Way::Cancel {
            wait_for("every task to run", LIMIT, || lines(&self.witnesses).len() == ROUNDS)?;
            self.fleet.ctl.run(["task", "cancel", &task])?;
        }
        let said = format!("crash point {}", point.name);
        let fired = |world: &Self| {
            let logs = world.fleet.agents.iter().map(|agent| fs::read_to_string(agent.log()));
            logs.filter(|log| log.as_ref().is_ok_and(|log| log.contains(&said)))
                .count()
        };
        wait_for("every crash to fire", LIMIT, || fired(self) == ROUNDS)?;
        if point.dies == Dies::Agent {
            let agents = &mut self.fleet.agents;
            wait_for("every agent to be dead", LIMIT, || {
                agents.iter_mut().all(|agent| agent.has_ended())
            })?;
        } else {
            self.wait_for_ends(&task)?;
        }
        for agent in &mut self.fleet.agents {
            agent.kill();
            agent.launch()?;
        }
        self.wait_for_ends(&task)?;
        self.check(point, &task)?;
        self.wait_until_forgotten()?;
        let is_half_done = |agent: &opslink_harness::Agent| agent.state().join("fence").with_extension("new").exists();
        ensure!(
            !self.fleet.agents.iter().any(is_half_done),
            "a fence that was written halfway is left behind"
        );
        self.fleet.agents.iter_mut().for_each(|agent| agent.kill());
        Ok(())
    }

    fn wait_for_ends(&self, task: &str) -> Result<()> {
        wait_for("every execution to end", LIMIT * 2, || {
            executions(&self.fleet.ctl, task).is_ok_and(|all| {
                let ended = |execution: &serde_json::Value| {
                    text(execution, "/state").is_ok_and(|state| {
                        [
                            "SUCCEEDED",
                            "FAILED",
                            "CANCELED",
                            "TIMED_OUT",
                            "LOST",
                            "REFUSED",
                            "EXPIRED",
                        ]
                        .contains(&state.trim_start_matches("EXECUTION_STATE_"))
                    })
                };
                all.len() == ROUNDS && all.iter().all(ended)
            })
        })
    }

    fn check(&self, point: &Point, task: &str) -> Result<()> {
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for execution in executions(&self.fleet.ctl, task)? {
            let state = text(&execution, "/state")?;
            *ends
                .entry(state.trim_start_matches("EXECUTION_STATE_").to_owned())
                .or_default() += 1;
        }
        let witnesses = lines(&self.witnesses);
        let told = format!("{}: {ends:?}, witnesses {witnesses:?}", point.name);
        ensure!(
            ends.keys().all(|end| point.ends.contains(&end.as_str())),
            "another end: {told}"
        );
        ensure!(witnesses.iter().all(|count| *count == 1), "started twice: {told}");
        let of = |names: &[&str]| names.iter().filter_map(|name| ends.get(*name)).sum::<usize>();
        let (ran, may_have) = (of(&["SUCCEEDED", "CANCELED"]), of(&["LOST"]));
        ensure!(
            (ran..=ran + may_have).contains(&witnesses.len()),
            "an end that is not true: {told}"
        );
        Ok(())
    }

    /// What the cloud has goes from every journal.
    fn wait_until_forgotten(&self) -> Result<()> {
        wait_for("every journal to be empty", LIMIT, || {
            self.fleet.agents.iter().all(|agent| {
                let attempts = fs::read_dir(agent.state().join("attempts"));
                attempts.is_ok_and(|mut attempts| attempts.next().is_none())
            })
        })
    }
}

/// Writes the records of attempts of the day before yesterday into a fence: more than a start leaves there.
fn fill_with_old(fence: &Path) -> Result<()> {
    const OLD: usize = 1_500;
    let then = UnixMicros::now().minus(Duration::from_secs(2 * 24 * 3_600));
    let mut fence = Fence::open(fence, then)?;
    for _ in 0..OLD {
        fence.refuse(AttemptId::new(), Unstarted::Canceled, then)?;
    }
    Ok(())
}

/// How often each attempt ran.
fn lines(witnesses: &Path) -> Vec<usize> {
    let files = fs::read_dir(witnesses).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_to_string(file.path()).ok())
        .map(|text| text.lines().count())
        .collect()
}

#[test]
fn whatever_dies_between_two_steps_nothing_runs_twice_and_every_end_is_true() -> Result<()> {
    let mut world = World::start()?;
    for point in POINTS {
        let started = std::time::Instant::now();
        world.round(point).with_context(|| point.name)?;
        println!("{} in {:.1} s", point.name, started.elapsed().as_secs_f64());
    }
    Ok(())
}
