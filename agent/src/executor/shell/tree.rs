//! The processes that a task has started, and how they are ended.
//!
//! In a runner process (a child subreaper) they are all descendants of the runner: a process that forks twice, makes a
//! session of its own and ignores TERM stays one. Elsewhere (tests, the simulator) they are the main process, its
//! descendants, its process group and its session; one that forks twice escapes there.
//! What another service starts on a task's behalf (systemd, docker, at) is that service's.

use std::{collections::HashMap, fs, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid, waitpid},
    },
    unistd::Pid,
};
use opslink::{
    event::{Event, EventBody, Level, Note},
    reason::Reason,
    time::UnixMicros,
};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use crate::{
    executor::{Context, Failure, PROCESSES_LEFT},
    processes::{self, Process},
};

/// Time after KILL in which everything should be gone. Shorter than that of the runner, whose word is less exact.
const PATIENCE: Duration = Duration::from_secs(4);

/// Some milliseconds of it.
const FAST_PASSES: u32 = 100;

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The processes of one task.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessTree {
    main: i32,
    /// This process, when every orphan of the task comes back to it.
    reaper: Option<i32>,
}

impl ProcessTree {
    /// The tree under a main process that was just started.
    pub(super) fn of(main: Option<u32>) -> Self {
        let main = main.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let is_reaper = prctl::get_child_subreaper().unwrap_or(false);
        Self {
            main,
            reaper: is_reaper.then(|| Pid::this().as_raw()),
        }
    }

    /// Everything of it that is alive.
    pub(super) fn members(&self) -> Vec<Process> {
        self.members_of(processes::all())
    }

    fn members_of(&self, mut processes: HashMap<i32, Process>) -> Vec<Process> {
        let mut members: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| !process.is_zombie && self.has(**pid, &processes))
            .map(|(pid, _)| *pid)
            .collect();
        members.sort_unstable();
        members.iter().filter_map(|pid| processes.remove(pid)).collect()
    }

    /// Says whether nothing of it is left. A snapshot of `/proc` may miss a process that is forked while the snapshot
    /// is taken; whether a reaper has children is told by the kernel, and whoever has none has no descendants.
    fn is_gone(&self, child: &mut Child) -> bool {
        // Whoever waits for it later gets the same answer.
        let main_ended = !matches!(child.try_wait(), Ok(None));
        if self.reaper.is_none() {
            return main_ended && self.members().is_empty();
        }
        if !main_ended {
            return false;
        }
        loop {
            let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::All, peek) {
                Err(Errno::ECHILD) => return true,
                Err(Errno::EINTR) => {}
                // Ended, and not collected.
                Ok(status) => match status.pid() {
                    Some(pid) => {
                        waitpid(pid, Some(WaitPidFlag::WNOHANG)).ok();
                    }
                    // Alive.
                    None => return false,
                },
                Err(_) => return self.members().is_empty(),
            }
        }
    }

    fn has(&self, pid: i32, processes: &HashMap<i32, Process>) -> bool {
        if self.main == 0 || Some(pid) == self.reaper {
            return false;
        }
        let root = self.reaper.unwrap_or(self.main);
        let mut at = pid;
        // Bounded by the number of processes: a snapshot that is torn by the moment may hold a circle.
        for _ in 0..=processes.len() {
            let Some(process) = processes.get(&at) else {
                return false;
            };
            if at == root || (self.reaper.is_none() && (process.group == self.main || process.session == self.main)) {
                return true;
            }
            at = process.parent;
        }
        false
    }

    /// Ends all of it: TERM, and after the grace KILL until nothing is left.
    ///
    /// # Errors
    /// [`PROCESSES_LEFT`] when there are processes that this user may not end.
    pub(super) async fn end(&self, child: &mut Child, ctx: &Context) -> Result<(), Failure> {
        if !ctx.grace.is_zero() {
            for process in self.members() {
                process.signal(Signal::SIGTERM).ok();
                // A stopped process would hear of it only when continued.
                process.signal(Signal::SIGCONT).ok();
            }
            if self.gone_within(child, ctx.grace).await {
                return Ok(());
            }
        }
        let killing_since = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        let mut told = false;
        while !self.is_gone(child) && !self.kill_fast(child) {
            let members = self.members();
            let denied = members
                .iter()
                .filter(|process| process.signal(Signal::SIGKILL) == Err(Errno::EPERM))
                .count();
            if killing_since.elapsed() >= PATIENCE && !members.is_empty() {
                if denied == members.len() {
                    let message = format!(
                        "{denied} process(es) of the task belong to another user and cannot be ended by the agent: {}; \
                         end them by hand",
                        processes::list(&members)
                    );
                    return Err(Failure::new(PROCESSES_LEFT, message));
                }
                if !told {
                    told = true;
                    self.tell_stuck(&members, ctx).await;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Kills what is directly below the reaper, again and again for a moment; says whether that was all. A process that
    /// forks and ends all the time is gone before any list of the machine's processes is read; its parent's end makes it a
    /// child of the reaper, whose own short list is read at once. Nobody else collects those: no number is another one's.
    fn kill_fast(&self, child: &mut Child) -> bool {
        let Some(own) = self.reaper else { return false };
        let list = format!("/proc/{own}/task/{own}/children");
        for _ in 0..FAST_PASSES {
            let children = fs::read_to_string(&list).unwrap_or_default();
            for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
            if self.is_gone(child) {
                return true;
            }
        }
        false
    }

    async fn gone_within(&self, child: &mut Child, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let mut pause = SHORTEST_PAUSE;
        loop {
            if self.is_gone(child) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn tell_stuck(&self, members: &[Process], ctx: &Context) {
        let message = format!(
            "still waiting for {} killed process(es) to end: {}; the kernel holds them, often because of a disk or \
             network file system that does not answer",
            members.len(),
            processes::list(members)
        );
        let note = Note {
            level: Level::Warning,
            reason: Reason::ProcessesStuck.code().to_owned(),
            message,
        };
        ctx.sink
            .emit(Event {
                time_us: UnixMicros::now().0,
                body: EventBody::Note(note),
            })
            .await;
    }

    /// Collects orphans that ended. The main process is left to whoever waits for it.
    pub(super) fn reap(&self) {
        let Some(own) = self.reaper else { return };
        for (pid, process) in processes::all() {
            if process.is_zombie && process.parent == own && pid != self.main {
                waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes<const N: usize>(of: [(i32, [i32; 3]); N]) -> HashMap<i32, Process> {
        let process = |(pid, [parent, group, session]): (i32, [i32; 3])| Process {
            pid,
            name: String::new(),
            parent,
            group,
            session,
            is_zombie: false,
            start_ticks: 0,
        };
        of.map(|(pid, of)| (pid, process((pid, of)))).into()
    }

    fn pids(members: Vec<Process>) -> Vec<i32> {
        members.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn under_a_reaper_every_descendant_counts_and_nothing_else() {
        let processes = processes([
            (1, [0, 1, 1]),
            (10, [1, 10, 10]),
            (11, [10, 11, 10]),
            (12, [11, 11, 10]),
            // Forked twice, own session: came back to the reaper.
            (13, [10, 13, 13]),
            (20, [1, 11, 10]),
        ]);
        let tree = ProcessTree {
            main: 11,
            reaper: Some(10),
        };
        assert_eq!(pids(tree.members_of(processes)), [11, 12, 13]);
    }

    #[test]
    fn without_one_group_and_session_count() {
        let processes = processes([
            (11, [10, 11, 10]),
            (12, [1, 11, 10]),
            (13, [12, 13, 10]),
            (14, [1, 14, 14]),
        ]);
        let tree = ProcessTree { main: 11, reaper: None };
        assert_eq!(pids(tree.members_of(processes)), [11, 12, 13]);
    }
}
