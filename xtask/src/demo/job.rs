//! The main job of the demo: SQL on one agent, a script on two, each shown as it runs.

use std::process::ExitCode;

use anyhow::Result;
use opslink_harness::{Ctl, process};

/// What is run, as a person would type it after `cloudctl`.
const JOB: [&[&str]; 3] = [
    &["agent", "list"],
    &[
        "run",
        "sql",
        "--file",
        "examples/demo.sql",
        "--agent",
        "prod",
        "-o",
        "table",
    ],
    &[
        "run",
        "shell",
        "-l",
        "env=prod",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3; do echo line $i of $(uname -n); sleep 0.2; done",
    ],
];

/// Runs the job; the first bad exit code is the demo's own.
pub(crate) fn run(ctl: &Ctl) -> Result<ExitCode> {
    for args in JOB {
        println!(
            "\n$ cloudctl {}",
            args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ")
        );
        let mut command = ctl.command(args)?;
        let status = process::status(command.current_dir(crate::paths::root()))?;
        println!();
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            println!("this call ended with {status}");
            return Ok(ExitCode::from(code));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Quotes an argument for a shell when it needs it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,".contains(c);
    if arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}
