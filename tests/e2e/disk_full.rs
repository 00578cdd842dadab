//! T19: the agent's disk is full while the link is down. The command waits, nothing is lost, new work is refused.
//!
//! Mounts small file systems, which needs root: `cargo xtask test disk` runs this file, and names it where it cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use opslink_harness::{Agent, Fleet, fleet::join_token, process, wait_for};

use crate::support::{LIMIT, detached, shell, wait_state, wait_verified};

const MIB: usize = 1 << 20;

/// A file system in memory. Gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir(&path)?;
        let options = format!("size={size}");
        process::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&path),
        )?;
        Ok(Self(path))
    }

    fn free_kib(&self) -> Option<u64> {
        let said = process::output(Command::new("df").args(["--output=avail", "-k"]).arg(&self.0)).ok()?;
        said.lines().last()?.trim().parse().ok()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Runners may still have files open there: it goes when they do.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn agent_on(fleet: &Fleet, folder: &Path) -> Result<Agent> {
    let token = join_token(&fleet.ctl, "small", "env=small")?;
    let mut agent = Agent::join("small", folder.join("state"), &fleet.cloud.url, &token)?;
    agent.start()?;
    Ok(agent)
}

#[test]
fn a_full_disk_without_a_link_makes_the_command_wait_and_loses_nothing() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "32m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let (begin, ended, copy) = (fleet.path("begin"), fleet.path("ended"), fleet.path("copy"));
    // What cannot be compressed; the copy is what the command said.
    let script = format!(
        "while ! test -e {}; do sleep 0.05; done; head -c {} /dev/urandom | tee {}; touch {}",
        begin.display(),
        100 * MIB,
        copy.display(),
        ended.display()
    );
    let task = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script])?;
    wait_state(&fleet.ctl, &task, &["RUNNING"])?;
    fleet.cloud.kill();
    fs::write(&begin, "")?;
    wait_for("the disk to be full", LIMIT, || {
        small.free_kib().is_some_and(|free| free < 512)
    })?;
    let produced = || fs::metadata(&copy).map(|file| file.len()).unwrap_or_default();
    assert!(
        !ended.exists() && produced() < 60 * MIB as u64,
        "the command waits: {}",
        produced()
    );

    // No room but what the cloud takes over: the journal gives back what it has.
    fleet.cloud.restart()?;
    assert_eq!(
        wait_state(&fleet.ctl, &task, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    let logs = fleet.ctl.run(["logs", &task])?.expect(0)?;
    assert!(logs.stdout == fs::read(&copy)?, "every byte, in its order");
    assert!(
        logs.stderr.contains("DISK_FULL"),
        "and it is told why it took so long: {}",
        logs.stderr
    );
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn a_disk_that_is_smaller_than_the_output_is_enough_while_there_is_a_link() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "40m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let copy = fleet.path("copy");
    let script = format!("head -c {} /dev/urandom | tee {}", 120 * MIB, copy.display());
    let task = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script])?;
    assert_eq!(
        wait_state(&fleet.ctl, &task, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    let logs = fleet.ctl.run(["logs", &task])?.expect(0)?;
    assert!(logs.stdout == fs::read(&copy)?, "every byte, in its order");
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn new_work_on_a_full_disk_is_refused_until_there_is_room() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "8m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let filler = small.0.join("filler");
    let full = fs::write(&filler, vec![0; 9 * MIB]).err().context("a full disk")?;
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let refused = shell(&fleet.ctl, "small", &["echo", "never"])?.expect(3)?;
    assert!(refused.stderr.contains("DISK_FULL"), "{}", refused.stderr);
    assert_eq!(refused.text(), "");
    fs::remove_file(&filler)?;
    assert_eq!(
        shell(&fleet.ctl, "small", &["echo", "again"])?.expect(0)?.text(),
        "again\n"
    );
    Ok(())
}

#[test]
fn an_agent_restarts_on_a_full_disk_and_forgets_no_attempt() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "8m")?;
    // Its log is elsewhere: cutting it at the start would give room.
    std::os::unix::fs::symlink(fleet.path("small.log"), small.0.join("state.log"))?;
    let mut agent = agent_on(&fleet, &small.0)?;
    let (started, release) = (fleet.path("started"), fleet.path("release"));
    let script = |end: &str| {
        let (started, release) = (started.display(), release.display());
        format!("echo up; echo $PPID > {started}; while ! test -e {release}; do sleep 0.05; done; {end}")
    };
    let survivor = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script("echo done")])?;
    wait_for("the survivor to run", LIMIT, || started.exists())?;
    fs::remove_file(&started)?;
    let victim = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script("echo never")])?;
    wait_for("the victim to run", LIMIT, || {
        fs::read_to_string(&started).is_ok_and(|pid| pid.ends_with('\n'))
    })?;
    let runner = fs::read_to_string(&started)?;

    agent.kill();
    process::run(Command::new("kill").args(["-9", runner.trim()]))?;
    let filler = small.0.join("filler");
    fs::write(&filler, vec![0; 9 * MIB]).err().context("a full disk")?;
    agent.start().context("the agent starts on a full disk")?;
    fs::remove_file(&filler)?;
    assert_eq!(
        wait_state(&fleet.ctl, &victim, &["SUCCEEDED", "FAILED", "LOST"])?,
        "LOST"
    );
    fs::write(&release, "")?;
    assert_eq!(
        wait_state(&fleet.ctl, &survivor, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    wait_verified(&fleet.ctl, &survivor)?;

    // What the cloud has goes from a full disk as well.
    let script = format!("echo up; while test -e {}; do sleep 0.05; done", release.display());
    let last = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script])?;
    wait_state(&fleet.ctl, &last, &["RUNNING"])?;
    let attempts = agent.state().join("attempts");
    wait_for("the others to be forgotten, and a word of the last", LIMIT, || {
        let folders: Vec<_> = fs::read_dir(&attempts).into_iter().flatten().flatten().collect();
        let has_spoken =
            |folder: &fs::DirEntry| fs::metadata(folder.path().join("chunks")).is_ok_and(|chunks| chunks.len() > 0);
        folders.len() == 1 && folders.iter().all(has_spoken)
    })?;
    // A page of the fence may still take records; a folder that goes gives room for the next ones.
    fs::write(&filler, vec![0; 9 * MIB]).err().context("a full disk")?;
    fs::remove_file(&release)?;
    assert_eq!(
        wait_state(&fleet.ctl, &last, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    wait_for("the last to be forgotten", LIMIT, || {
        fs::read_dir(&attempts).is_ok_and(|attempts| attempts.count() == 0)
    })
}
