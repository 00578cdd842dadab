//! `fake`: a scripted pretence of work.

use std::time::Duration;

use bytes::Bytes;

use super::Kind;
use crate::{convert::InvalidMessage, pb};

/// A scripted pretence of work, for tests and benchmarks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FakeSpec {
    /// Done in order; success when they run out.
    pub steps: Vec<FakeStep>,
}

/// One step of a fake.
#[derive(Debug, Clone, PartialEq)]
pub enum FakeStep {
    /// Waits; ends at once when canceled.
    Sleep(Duration),
    /// Writes to stdout.
    Stdout(Bytes),
    /// Writes to stderr.
    Stderr(Bytes),
    /// Ends with this exit code.
    Exit(i32),
    /// Fails as the executor itself, with this message.
    Fail(String),
    /// Writes this many deterministic bytes to stdout, in lines of 100 bytes.
    Flood(u64),
    /// Waits and ignores cancellation.
    Stubborn(Duration),
}

impl Kind for FakeSpec {
    type Wire = pb::FakeSpec;

    const NAME: &'static str = "fake";

    /// How many steps it has.
    fn summary(&self) -> String {
        format!("{} steps", self.steps.len())
    }
}

impl TryFrom<pb::FakeSpec> for FakeSpec {
    type Error = InvalidMessage;

    fn try_from(fake: pb::FakeSpec) -> Result<Self, InvalidMessage> {
        use pb::fake_step::Step;
        let step = |step: pb::FakeStep| match step.step {
            None => Err(InvalidMessage::new("spec.fake.steps", "has a step of an unknown kind")),
            Some(Step::SleepMs(ms)) => Ok(FakeStep::Sleep(Duration::from_millis(ms.into()))),
            Some(Step::Stdout(data)) => Ok(FakeStep::Stdout(data)),
            Some(Step::Stderr(data)) => Ok(FakeStep::Stderr(data)),
            Some(Step::ExitCode(code)) => Ok(FakeStep::Exit(code)),
            Some(Step::Fail(message)) => Ok(FakeStep::Fail(message)),
            Some(Step::FloodBytes(bytes)) => Ok(FakeStep::Flood(bytes)),
            Some(Step::StubbornMs(ms)) => Ok(FakeStep::Stubborn(Duration::from_millis(ms.into()))),
        };
        Ok(Self {
            steps: fake.steps.into_iter().map(step).collect::<Result<_, _>>()?,
        })
    }
}

impl From<FakeSpec> for pb::FakeSpec {
    fn from(fake: FakeSpec) -> Self {
        use pb::fake_step::Step;
        let step = |step: FakeStep| match step {
            FakeStep::Sleep(time) => Step::SleepMs(whole_millis(time)),
            FakeStep::Stdout(data) => Step::Stdout(data),
            FakeStep::Stderr(data) => Step::Stderr(data),
            FakeStep::Exit(code) => Step::ExitCode(code),
            FakeStep::Fail(message) => Step::Fail(message),
            FakeStep::Flood(bytes) => Step::FloodBytes(bytes),
            FakeStep::Stubborn(time) => Step::StubbornMs(whole_millis(time)),
        };
        Self {
            steps: fake
                .steps
                .into_iter()
                .map(|one| pb::FakeStep { step: Some(step(one)) })
                .collect(),
        }
    }
}

fn whole_millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
