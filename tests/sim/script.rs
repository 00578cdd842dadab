//! What is asked of the agents in one run, drawn from its seed, and what must come back.

use std::time::Duration;

use fastrand::Rng;
use opslink::{
    pb,
    task::{Action, FakeSpec, FakeStep, TaskSpec},
};

use crate::plan::AGENTS;

/// A wait that no run lasts through: only a cancel ends it in time.
const ENDLESS: Duration = Duration::from_secs(3_000);
/// A time to wait in the queue, or a time limit, that no run reaches.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// One task of a run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its first output and its reason; tells tasks apart.
    pub(crate) marker: String,
    /// When it is created, from the start of the work.
    pub(crate) at: Duration,
    /// What it does after it said its marker.
    pub(crate) steps: Vec<FakeStep>,
    /// Rows that it says after its marker.
    pub(crate) rows: Option<Rows>,
    /// On which agents.
    pub(crate) agents: Vec<&'static str>,
    /// Rollout: how many at once.
    pub(crate) max_parallel: u32,
    /// Rollout: after how many failures nothing more starts.
    pub(crate) max_failures: u32,
    /// Its deadline.
    pub(crate) timeout: Duration,
    /// Longest wait in the queue; none when it does not queue.
    pub(crate) ttl: Option<Duration>,
}

/// Rows of a result set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// How many.
    pub(crate) count: u32,
    /// Length of the last row's cell; the others are short.
    pub(crate) last_cell: usize,
}

impl Job {
    /// Draws the tasks of a run. The first one is watched, so it is nothing special.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let crowd = rng.u32(0..4) == 0;
        let count = if crowd { rng.u32(8..14) } else { rng.u32(3..7) };
        let pause = if crowd { 400 } else { 3_000 };
        let mut at = Duration::ZERO;
        (0..count)
            .map(|number| {
                at += Duration::from_millis(rng.u64(0..pause));
                Self::draw_one(rng, number, at)
            })
            .collect()
    }

    fn draw_one(rng: &mut Rng, number: u32, at: Duration) -> Self {
        let mut steps = Vec::new();
        for _ in 0..rng.u32(0..6) {
            steps.push(match rng.u32(0..10) {
                0..4 => FakeStep::Sleep(Duration::from_millis(rng.u64(1..2_500))),
                4 => FakeStep::Flood(rng.u64(1..200_000)),
                5 => FakeStep::Stderr(bytes(rng).into()),
                _ => FakeStep::Stdout(bytes(rng).into()),
            });
        }
        match rng.u32(0..6) {
            0 => steps.push(FakeStep::Exit(rng.i32(1..255))),
            1 => steps.push(FakeStep::Fail("it did not work".into())),
            2 => steps.push(FakeStep::Stubborn(Duration::from_millis(rng.u64(1..1_500)))),
            _ => {}
        }
        let agents: Vec<_> = match rng.u32(0..4) {
            0 => vec![AGENTS[rng.usize(0..AGENTS.len())]],
            1 => AGENTS[..2].to_vec(),
            _ => AGENTS.to_vec(),
        };
        let mut job = Self {
            marker: format!("task {number}\n"),
            at,
            steps,
            rows: (rng.u32(0..4) == 0).then(|| Rows {
                count: rng.u32(1..200),
                last_cell: if rng.u32(0..30) == 0 {
                    2_200_000
                } else {
                    rng.usize(1..3_000)
                },
            }),
            agents,
            max_parallel: [0, 0, 1, 1, 2][rng.usize(0..5)],
            max_failures: [0, 0, 1, 2][rng.usize(0..4)],
            timeout: if rng.u32(0..6) == 0 {
                Duration::from_secs(1)
            } else {
                LONG
            },
            ttl: match rng.u32(0..6) {
                0 => Some(Duration::from_secs(rng.u64(1..20))),
                1 => None,
                _ => Some(LONG),
            },
        };
        if number == 0 {
            job.agents = AGENTS[..2].to_vec();
            job.ttl = Some(LONG);
        }
        job
    }

    /// Makes it one that ends by a cancel only, beside a time limit that it may have.
    pub(crate) fn make_endless(&mut self) {
        self.steps
            .retain(|step| !matches!(step, FakeStep::Exit(_) | FakeStep::Fail(_)));
        self.steps.push(FakeStep::Sleep(ENDLESS));
    }

    /// Says whether its steps take longer than any run.
    pub(crate) fn is_endless(&self) -> bool {
        self.steps.contains(&FakeStep::Sleep(ENDLESS))
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        self.marker.trim_end()
    }

    /// Its number among the tasks of the run.
    pub(crate) fn number(&self) -> usize {
        self.name().trim_start_matches("task ").parse().expect("a number")
    }

    /// What it is on the wire.
    pub(crate) fn request(&self) -> pb::CreateTaskRequest {
        let mut steps = vec![FakeStep::Stdout(self.marker.clone().into())];
        steps.extend(self.steps.iter().cloned());
        let spec = TaskSpec {
            action: Action::Fake(FakeSpec { steps }),
            timeout: self.timeout,
            grace: Duration::from_secs(1),
        };
        pb::CreateTaskRequest {
            spec: Some(spec.into()),
            selector: Some(pb::Selector {
                names: self.agents.iter().map(|name| (*name).to_owned()).collect(),
                ..Default::default()
            }),
            rollout: Some(pb::Rollout {
                max_parallel: self.max_parallel,
                max_failures: self.max_failures,
            }),
            queueing: Some(pb::Queueing {
                enabled: self.ttl.is_some(),
                ttl_secs: self.ttl.map_or(0, |ttl| ttl.as_secs() as u32),
            }),
            request_id: format!("00000000-0000-4000-8000-{:012}", self.number()),
            reason: self.name().to_owned(),
            ..Default::default()
        }
    }

    /// Says whether its time limit is one that it may reach.
    pub(crate) fn may_time_out(&self) -> bool {
        self.timeout < LONG
    }

    /// Says whether it may wait too long for its turn.
    pub(crate) fn may_expire(&self) -> bool {
        self.ttl != Some(LONG)
    }

    /// Says whether it ends well when nothing ends it before.
    pub(crate) fn succeeds(&self) -> bool {
        !matches!(self.steps.last(), Some(FakeStep::Exit(1..) | FakeStep::Fail(_)))
    }

    /// Everything that it writes when nothing ends it: stdout, stderr.
    pub(crate) fn output(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut stdout, mut stderr) = (self.marker.clone().into_bytes(), Vec::new());
        for step in &self.steps {
            match step {
                FakeStep::Stdout(data) => stdout.extend_from_slice(data),
                FakeStep::Stderr(data) => stderr.extend_from_slice(data),
                FakeStep::Flood(bytes) => stdout.extend_from_slice(&flood(*bytes as usize)),
                FakeStep::Sleep(_) | FakeStep::Stubborn(_) | FakeStep::Exit(_) | FakeStep::Fail(_) => {}
            }
        }
        (stdout, stderr)
    }
}

/// A task that takes a slot of each agent for a moment.
pub(crate) fn probe(number: usize, agents: Vec<String>) -> pb::CreateTaskRequest {
    let spec = TaskSpec {
        action: Action::Fake(FakeSpec {
            steps: vec![
                FakeStep::Stdout(format!("probe {number}\n").into()),
                FakeStep::Sleep(Duration::from_secs(3)),
            ],
        }),
        timeout: LONG,
        grace: Duration::from_secs(1),
    };
    pb::CreateTaskRequest {
        spec: Some(spec.into()),
        selector: Some(pb::Selector {
            names: agents,
            ..Default::default()
        }),
        queueing: Some(pb::Queueing {
            enabled: true,
            ttl_secs: 600,
        }),
        request_id: format!("00000000-0000-4000-9000-{number:012}"),
        reason: format!("probe {number}"),
        ..Default::default()
    }
}

/// Some lines, not all of them text, not all of them ended.
fn bytes(rng: &mut Rng) -> Vec<u8> {
    (0..rng.usize(1..2_000))
        .map(|_| if rng.u32(0..30) == 0 { b'\n' } else { rng.u8(..) })
        .collect()
}

/// The same bytes as the fake executor's, written down a second time on purpose.
fn flood(bytes: usize) -> Vec<u8> {
    let line = |n: usize| {
        let rest = "the quick brown fox jumps over the lazy dog, and the log goes on and on and on.";
        format!("{n:012} {rest} {:>6}\n", n % 997)
    };
    let mut text: Vec<u8> = (0..bytes.div_ceil(100)).flat_map(|n| line(n).into_bytes()).collect();
    text.truncate(bytes);
    text
}
