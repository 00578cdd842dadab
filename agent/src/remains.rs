//! What a runner that was killed has left running: found and ended, so that no task goes on without anybody who could
//! cancel it, and none runs twice when it is tried again.
//!
//! Its processes are those of its session, whoever else carries the mark of its attempt in the environment (that is how
//! those are found that have left the session), and their descendants. What another service started on the task's behalf
//! is that service's.

use std::{
    collections::{BTreeMap, HashMap},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use opslink::id::AttemptId;

use crate::{
    journal::{self, boot_id},
    processes::{self, Process},
};

/// The environment variable that marks the processes of an attempt.
pub(crate) const MARK: &str = "OPSLINK_ATTEMPT_ID";

/// From TERM to KILL. Short: nobody is left to record what they would still say.
const GRACE: Duration = Duration::from_secs(1);
/// Time after KILL in which everything should be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// What became of the processes that a runner left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Those that were ended, by number.
    ended: BTreeMap<i32, Process>,
    /// Those that could not be.
    left: BTreeMap<i32, Process>,
}

impl Remains {
    /// One sentence for people; empty when there was nothing.
    pub(crate) fn to_sentence(&self) -> String {
        let ended = match self.ended.len() {
            0 => String::new(),
            count => format!(
                "; {count} process(es) of it were ended: {}",
                processes::list(self.ended.values())
            ),
        };
        let left = match self.left.len() {
            0 => String::new(),
            count => format!(
                "; {count} process(es) of it still run and could not be ended, end them by hand: {}",
                processes::list(self.left.values())
            ),
        };
        ended + &left
    }
}

/// Says whether a runner that is gone has left anything running.
pub(crate) fn exist(id: AttemptId, runner: &journal::Process) -> bool {
    !find(id, runner).is_empty()
}

/// Ends whatever a runner that is gone has left. Blocks for 6 s at the most.
pub(crate) fn end(id: AttemptId, runner: &journal::Process) -> Remains {
    let mut seen = BTreeMap::new();
    let start = Instant::now();
    let mut is_asked = false;
    loop {
        let found = find(id, runner);
        let signal = if start.elapsed() < GRACE {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        for process in &found {
            // Once softly; for good as often as it takes.
            if signal == Signal::SIGKILL || !is_asked {
                process.signal(signal).ok();
                // A stopped process would hear of it only when continued.
                process.signal(Signal::SIGCONT).ok();
            }
            seen.entry(process.pid).or_insert_with(|| process.clone());
        }
        is_asked = true;
        if found.is_empty() || start.elapsed() >= GRACE + PATIENCE {
            let left: BTreeMap<_, _> = found.into_iter().map(|process| (process.pid, process)).collect();
            seen.retain(|pid, _| !left.contains_key(pid));
            return Remains { ended: seen, left };
        }
        thread::sleep(PAUSE);
    }
}

/// Ends whatever this process has started, at once: its executor has given up on it.
pub(crate) fn kill_descendants() {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let all = processes::all();
    for process in all.values().filter(|process| descends(process, &[own], &all)) {
        process.signal(Signal::SIGKILL).ok();
    }
}

fn find(id: AttemptId, runner: &journal::Process) -> Vec<Process> {
    let Ok(session) = i32::try_from(runner.pid) else {
        return Vec::new();
    };
    // No process outlives a boot.
    if runner.boot_id.is_empty() || runner.boot_id != boot_id() {
        return Vec::new();
    }
    let all = processes::all();
    // A session keeps its number as long as it has members; when a later process leads one of that number, ours is empty.
    let is_ours = all
        .get(&session)
        .is_none_or(|leader| leader.start_ticks == runner.start_ticks);
    let value = id.to_string();
    let belongs = |process: &Process| is_ours && process.session == session || process.has_variable(MARK, &value);
    // An agent that a task of its own has started carries that task's mark: it and its runners are nobody's remains.
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let roots: Vec<i32> = all
        .values()
        .filter(|process| process.pid != own && belongs(process))
        .map(|process| process.pid)
        .collect();
    let is_below = |process: &Process| roots.contains(&process.pid) || descends(process, &roots, &all);
    all.values()
        .filter(|process| !process.is_zombie && process.pid != own && process.pid > 1 && is_below(process))
        .cloned()
        .collect()
}

/// Says whether one of `roots` is above the process.
fn descends(process: &Process, roots: &[i32], all: &HashMap<i32, Process>) -> bool {
    let mut at = process.parent;
    // Bounded by the number of processes: a snapshot that is torn by the moment may hold a circle.
    for _ in 0..=all.len() {
        if roots.contains(&at) {
            return true;
        }
        match all.get(&at) {
            Some(parent) => at = parent.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt, process::Command};

    use super::*;

    fn runner_of(pid: u32) -> journal::Process {
        let start_ticks = Process::read(pid as i32).unwrap().start_ticks;
        journal::Process {
            pid,
            start_ticks,
            boot_id: boot_id(),
        }
    }

    #[test]
    fn the_marked_and_their_descendants_are_ended_and_named_and_nobody_else() {
        let (id, other) = (AttemptId::new(), AttemptId::new());
        let start = |id: AttemptId, script: &str| {
            Command::new("sh")
                .args(["-c", script])
                .env(MARK, id.to_string())
                .process_group(0)
                .spawn()
                .unwrap()
        };
        // The inner one has cleaned its environment and does not listen to TERM.
        let mut marked = start(
            id,
            "trap '' TERM; env -i sh -c 'trap \"\" TERM; sleep 60; :' & wait; sleep 60",
        );
        let mut stranger = start(other, "sleep 60");
        let runner = journal::Process {
            pid: u32::MAX / 4,
            ..runner_of(marked.id())
        };
        assert!(exist(id, &runner));
        let reaper = thread::spawn(move || marked.wait());
        let remains = end(id, &runner);
        reaper.join().unwrap().unwrap();
        assert!(remains.left.is_empty() && remains.ended.len() >= 2, "{remains:?}");
        let sentence = remains.to_sentence();
        assert!(
            sentence.contains("were ended") && sentence.contains("sleep ("),
            "{sentence}"
        );
        assert!(!exist(id, &runner));
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_session_that_got_the_number_later_is_another_ones() {
        let mut child = Command::new("setsid").args(["sleep", "60"]).spawn().unwrap();
        let runner = runner_of(child.id());
        let earlier = journal::Process {
            start_ticks: runner.start_ticks - 1,
            ..runner.clone()
        };
        let since = Instant::now();
        while !exist(AttemptId::new(), &runner) {
            assert!(since.elapsed() < Duration::from_secs(30), "its session is not found");
            thread::yield_now();
        }
        assert!(!exist(AttemptId::new(), &earlier));
        let before_boot = journal::Process {
            boot_id: "another".into(),
            ..runner
        };
        assert!(!exist(AttemptId::new(), &before_boot));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
