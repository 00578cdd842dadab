//! `cargo xtask test`: installs what each group needs, runs the groups, and says at the end what was not run and why.

mod group;
mod ran;
mod targets;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use opslink_harness::process;

use crate::{lint::cargo, paths, ui};
use group::{GROUPS, Group};

#[derive(Args)]
pub(crate) struct Options {
    /// Groups to run (all when none is named): lint unit sim e2e disk browser.
    groups: Vec<String>,
    /// List the groups and what they need.
    #[arg(long)]
    list: bool,
}

/// How a group ended.
enum End {
    Passed,
    Failed(String),
    /// A real part cannot be had on this machine.
    NotRun(String),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for group in GROUPS {
            println!("{:<8} {}  (needs: {:?})", group.name, group.about, group.needs);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let unknown = options
        .groups
        .iter()
        .find(|name| GROUPS.iter().all(|group| group.name != name.as_str()));
    if let Some(name) = unknown {
        anyhow::bail!("there is no test group `{name}`; `cargo xtask test --list` shows them");
    }
    let chosen: Vec<&Group> = GROUPS
        .iter()
        .filter(|group| options.groups.is_empty() || options.groups.iter().any(|name| name == group.name))
        .collect();

    let mut ends = Vec::new();
    for (index, group) in chosen.iter().enumerate() {
        println!("\n=== [{}/{}] {}: {}", index + 1, chosen.len(), group.name, group.about);
        let started = Instant::now();
        let end = one(group);
        ends.push((group.name, end, started.elapsed()));
    }
    // On a developer's machine a missing part is named and forgiven; in CI it is a failure.
    let is_strict = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    Ok(match summary(&ends, is_strict) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn one(group: &Group) -> End {
    for tool in group.needs {
        if let Err(error) = tool.ensure() {
            return End::NotRun(format!("{error:#}"));
        }
    }
    match (group.run)() {
        Ok(()) => End::Passed,
        Err(error) => End::Failed(format!("{error:#}")),
    }
}

/// Says how each group ended; returns how many of them failed.
fn summary(ends: &[(&str, End, Duration)], is_strict: bool) -> usize {
    let mut failed = 0;
    println!("\n=== summary");
    for (name, end, took) in ends {
        let secs = took.as_secs();
        match end {
            End::Passed => println!("  passed   {name:<8} {secs:>5} s"),
            End::Failed(why) => {
                failed += 1;
                println!("  FAILED   {name:<8} {secs:>5} s  {why}");
            }
            End::NotRun(why) => {
                failed += usize::from(is_strict);
                println!("  not run  {name:<8}          because {why}");
            }
        }
    }
    println!(
        "\n{} passed, {failed} failed",
        ends.iter().filter(|(_, end, _)| matches!(end, End::Passed)).count()
    );
    failed
}

/// The packages of the host, all at once: what is built once with these is not built again with other features.
const HOST: [&str; 3] = ["--workspace", "--exclude", "opslink-ui"];

/// Builds every test and every program that a test starts.
fn build() -> Result<()> {
    process::run(cargo().arg("build").args(HOST).arg("--all-targets"))
}

/// Builds the console as a release does.
fn build_console() -> Result<()> {
    ui::build(&ui::Options::default())
}

/// Runs tests of the host's packages with the place of the programs in the environment.
///
/// # Errors
/// One failed, or there is none of this description.
fn cargo_test(args: &[&str]) -> Result<()> {
    build()?;
    let tests = |more: &[&str]| {
        let mut command = cargo();
        command.arg("test").args(HOST).args(args).args(more);
        command.env("OPSLINK_BIN_DIR", paths::bins("dev"));
        command
    };
    let list: &[&str] = if args.contains(&"--") {
        &["--list"]
    } else {
        &["--", "--list"]
    };
    ran::are_some(&process::output(&mut tests(list))?, args)?;
    process::run(&mut tests(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_a_failure_in_ci_only() {
        let ends = [
            ("unit", End::Passed, Duration::ZERO),
            ("e2e", End::NotRun("there is no database".to_owned()), Duration::ZERO),
            ("sim", End::Failed("a seed".to_owned()), Duration::ZERO),
        ];
        assert_eq!((summary(&ends, false), summary(&ends, true)), (1, 2));
    }

    #[test]
    fn what_ci_runs_says_that_it_is_ci() {
        let script = std::fs::read_to_string(paths::root().join(".ci/run")).unwrap();
        let before_the_tests: Vec<_> = script.lines().take_while(|line| !line.starts_with("exec ")).collect();
        assert!(before_the_tests.contains(&"export CI=true"), "{script}");
        assert!(script.ends_with("exec cargo xtask test\n"), "{script}");
    }
}
