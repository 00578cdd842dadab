//! Ctrl-C, at a terminal: everything ends at once, says what goes on without it, and leaves the terminal as it was.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use opslink_harness::{Fleet, programs};

/// Types Ctrl-C into a command as soon as it has said some words; returns all that was on the screen, with the exit
/// code and the terminal's settings after it.
fn interrupted(fleet: &Fleet, args: &str, words: &str) -> Result<String> {
    // The shell is in the terminal's foreground too: with a trap it lives on, and what it starts has none.
    let line = format!(
        "trap : INT; {} {args}; echo code=$?; stty -a",
        programs::ours("cloudctl")?.display()
    );
    // `script` brings the terminal; what is written into it is typed.
    let mut child = Command::new("script")
        .args(["-q", "-e", "-f", "-c", &line, "/dev/null"])
        .env("CLOUDCTL_CONFIG", fleet.ctl.config())
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .env_remove("CI")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut keys = child.stdin.take().context("a keyboard")?;
    let mut screen = child.stdout.take().context("a screen")?;
    let (mut seen, mut typed) = (Vec::new(), false);
    let mut piece = [0; 4096];
    loop {
        let read = screen.read(&mut piece)?;
        if read == 0 {
            break;
        }
        seen.extend_from_slice(piece.get(..read).unwrap_or_default());
        if !typed && String::from_utf8_lossy(&seen).contains(words) {
            keys.write_all(b"\x03")?;
            typed = true;
        }
    }
    child.wait()?;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(typed, "`{words}` never came: {seen}");
    Ok(seen)
}

#[test]
fn at_the_password_the_echo_comes_back() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let args = format!(
        "login {} --username admin --ca-sha256 {}",
        fleet.cloud.url, fleet.cloud.ca_sha256
    );
    let seen = interrupted(&fleet, &args, "Password")?;
    assert!(seen.contains("code=130"), "{seen}");
    assert!(seen.contains(" echo ") && !seen.contains("-echo "), "{seen}");
    Ok(())
}

#[test]
fn a_followed_task_goes_on_and_it_is_said_how_to_come_back() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let release = fleet.path("release");
    let script = format!(
        "echo begun; while ! test -e {}; do sleep 0.05; done; echo ended",
        release.display()
    );
    let seen = interrupted(&fleet, &format!("run shell -a prod -- sh -c '{script}'"), "begun\r\n")?;
    for words in [
        "code=130",
        "Detached; the task goes on",
        "cloudctl logs",
        "cloudctl task cancel",
    ] {
        assert!(seen.contains(words), "`{words}` is missing in:\n{seen}");
    }
    let task = seen
        .split("cloudctl logs ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .context("an id")?;
    std::fs::write(&release, "")?;
    let logs = fleet.ctl.run(["logs", task, "-f"])?.expect(0)?;
    assert_eq!(logs.text(), "begun\nended\n");
    let seen = interrupted(&fleet, "agent watch", "prod")?;
    assert!(seen.contains("code=130"), "{seen}");
    Ok(())
}
