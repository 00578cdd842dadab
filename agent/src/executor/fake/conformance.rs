//! What the fake executor is tried with.

use std::time::Duration;

use opslink::kind::{Action, FakeSpec, FakeStep};

use crate::executor::conformance::{Sample, Sampled, awkward_bytes};

impl Sampled for FakeSpec {
    fn sample() -> Sample {
        let raw = awkward_bytes();
        Sample {
            endless: fake(vec![
                FakeStep::Stdout("up\n".into()),
                FakeStep::Sleep(Duration::from_secs(1000)),
            ]),
            bad: fake(vec![FakeStep::Exit(0), FakeStep::Exit(1)]),
            failing: fake(vec![FakeStep::Exit(7)]),
            raw: Some((fake(vec![FakeStep::Stdout(raw.clone().into())]), raw)),
        }
    }
}

fn fake(steps: Vec<FakeStep>) -> Action {
    Action::Fake(FakeSpec { steps })
}
