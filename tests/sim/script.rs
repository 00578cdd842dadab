//! What is asked of the agents in one run, drawn from its seed, and what must come back.

use std::time::Duration;

use fastrand::Rng;
use opslink::{
    pb,
    task::{Action, FakeSpec, FakeStep, TaskSpec},
};

/// The agents of every run.
pub(crate) const AGENTS: [&str; 2] = ["agent-1", "agent-2"];

/// One task of a run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its first output; tells tasks apart where only their steps are seen.
    pub(crate) marker: String,
    /// When it is created, from the start of the work.
    pub(crate) at: Duration,
    /// What it does.
    pub(crate) steps: Vec<FakeStep>,
    /// On which agents.
    pub(crate) agents: Vec<&'static str>,
    /// Rollout.
    pub(crate) max_parallel: u32,
    /// Its deadline.
    pub(crate) timeout: Duration,
    /// When it is canceled, from its creation.
    pub(crate) cancel_after: Option<Duration>,
}

impl Job {
    /// Draws the tasks of a run.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let count = rng.u32(3..7);
        let mut at = Duration::ZERO;
        (0..count)
            .map(|number| {
                at += Duration::from_millis(rng.u64(0..3_000));
                Self::draw_one(rng, number, at)
            })
            .collect()
    }

    fn draw_one(rng: &mut Rng, number: u32, at: Duration) -> Self {
        let marker = format!("task {number}\n");
        let mut steps = vec![FakeStep::Stdout(marker.clone().into())];
        for _ in 0..rng.u32(1..7) {
            steps.push(match rng.u32(0..10) {
                0..4 => FakeStep::Sleep(Duration::from_millis(rng.u64(1..2_500))),
                4 => FakeStep::Flood(rng.u64(1..400_000)),
                5 => FakeStep::Stderr(bytes(rng).into()),
                _ => FakeStep::Stdout(bytes(rng).into()),
            });
        }
        match rng.u32(0..5) {
            0 => steps.push(FakeStep::Exit(rng.i32(1..255))),
            1 => steps.push(FakeStep::Fail("it did not work".into())),
            2 => steps.push(FakeStep::Stubborn(Duration::from_millis(rng.u64(1..1_500)))),
            _ => {}
        }
        let agents = if rng.u32(0..3) > 0 {
            AGENTS.to_vec()
        } else {
            vec![AGENTS[rng.usize(0..2)]]
        };
        Self {
            marker,
            at,
            steps,
            agents,
            max_parallel: rng.u32(0..2),
            timeout: if rng.u32(0..6) == 0 {
                Duration::from_secs(1)
            } else {
                Duration::from_secs(600)
            },
            cancel_after: (rng.u32(0..5) == 0).then(|| Duration::from_millis(rng.u64(0..4_000))),
        }
    }

    /// What it is on the wire.
    pub(crate) fn request(&self, number: usize) -> pb::CreateTaskRequest {
        let action = Action::Fake(FakeSpec {
            steps: self.steps.clone(),
        });
        let spec = TaskSpec {
            action,
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
                max_failures: 0,
            }),
            queueing: Some(pb::Queueing {
                enabled: true,
                ttl_secs: 3_600,
            }),
            request_id: format!("00000000-0000-4000-8000-{number:012}"),
            ..Default::default()
        }
    }

    /// Says whether its end may come before the end of its steps.
    pub(crate) fn may_be_cut(&self) -> bool {
        self.cancel_after.is_some() || self.timeout < Duration::from_secs(600)
    }

    /// Everything that it writes when nothing ends it: stdout, stderr.
    pub(crate) fn output(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
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
