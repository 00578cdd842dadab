//! What the shell executor is tried with.

use bytes::Bytes;
use opslink::kind::{Action, ShellProgram, ShellSpec};

use crate::executor::conformance::{Sample, Sampled, awkward_bytes};

impl Sampled for ShellSpec {
    fn sample() -> Sample {
        let raw = awkward_bytes();
        Sample {
            endless: shell(&["sh", "-c", "echo up; sleep 1000"], Bytes::new()),
            bad: shell(&["a\0b"], Bytes::new()),
            failing: shell(&["false"], Bytes::new()),
            raw: Some((shell(&["cat"], raw.clone().into()), raw)),
        }
    }
}

fn shell(argv: &[&str], stdin: Bytes) -> Action {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Action::Shell(ShellSpec {
        program: ShellProgram::Argv(argv),
        env: Default::default(),
        cwd: None,
        stdin,
        run_as: None,
    })
}
