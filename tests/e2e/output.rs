//! Output: large, hostile, live.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use opslink_harness::Fleet;

use crate::support::{detached, shell, wait_state, wait_verified};

#[test]
fn a_line_is_on_the_screen_while_its_command_still_runs() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let release = fleet.path("release");
    let script = format!(
        "echo first; while ! test -e {}; do sleep 0.02; done; echo last",
        release.display()
    );
    let mut child = fleet
        .ctl
        .spawn(["run", "shell", "-a", "prod", "--", "sh", "-c", &script])?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
    assert_eq!(lines.next().context("a line")??, "first");
    // The command waits for this file: had the line come only at the end, this would never return.
    std::fs::write(release, "")?;
    assert_eq!(lines.next().context("a line")??, "last");
    assert!(child.wait()?.success());
    Ok(())
}

#[test]
fn fifty_megabytes_without_a_newline_arrive_whole() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let ran = shell(
        &fleet.ctl,
        "prod",
        &["sh", "-c", "head -c 52428800 /dev/zero | tr '\\0' x"],
    )?
    .expect(0)?;
    assert_eq!(ran.stdout.len(), 52_428_800);
    assert!(ran.stdout.iter().all(|byte| *byte == b'x'));
    Ok(())
}

#[test]
fn a_hundred_thousand_lines_are_stored_as_they_were_produced() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "seq", "100000"])?;
    wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(fleet.ctl.run(["logs", &task])?.expect(0)?.text(), expected);
    let tail = fleet.ctl.run(["logs", &task, "--tail", "3"])?.expect(0)?;
    assert_eq!(tail.text(), "99998\n99999\n100000\n");
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn escape_sequences_reach_a_pipe_untouched() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let hostile = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\r\u{202e}x";
    let ran = shell(&fleet.ctl, "prod", &["printf", "%s", hostile])?.expect(0)?;
    assert_eq!(ran.stdout, hostile.as_bytes());
    Ok(())
}

#[test]
fn a_reader_that_stops_reading_does_not_stop_the_task() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let done = fleet.path("done");
    let script = format!("head -c 80000000 /dev/zero | tr '\\0' y; touch {}", done.display());
    let mut reader = fleet
        .ctl
        .spawn(["run", "shell", "-a", "prod", "--", "sh", "-c", &script])?;
    let mut stdout = reader.stdout.take().context("stdout")?;
    let mut some = [0; 1000];
    stdout.read_exact(&mut some)?;
    // Nobody reads any more, and the pipe is full; the command ends all the same.
    let started = Instant::now();
    opslink_harness::wait_for("the command to end", Duration::from_secs(60), || done.exists())?;
    assert!(started.elapsed() < Duration::from_secs(60));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    assert_eq!(rest.len(), 80_000_000 - 1000);
    assert!(reader.wait()?.success());
    Ok(())
}
