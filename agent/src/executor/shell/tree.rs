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
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use opslink::{
    event::{Event, EventBody, Level, Note},
    reason::Reason,
    time::UnixMicros,
};
use tokio::time::{Instant, sleep};

use crate::executor::{Context, Failure, PROCESSES_LEFT};

/// Time after KILL in which everything should be gone.
const PATIENCE: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    group: i32,
    session: i32,
    is_zombie: bool,
}

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
    pub(super) fn members(&self) -> Vec<i32> {
        self.members_of(&processes())
    }

    fn members_of(&self, processes: &HashMap<i32, Process>) -> Vec<i32> {
        processes
            .iter()
            .filter(|(pid, process)| !process.is_zombie && self.has(**pid, processes))
            .map(|(pid, _)| *pid)
            .collect()
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
    pub(super) async fn end(&self, ctx: &Context) -> Result<(), Failure> {
        if !ctx.grace.is_zero() {
            for pid in self.members() {
                kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
                // A stopped process would hear of it only when continued.
                kill(Pid::from_raw(pid), Signal::SIGCONT).ok();
            }
            if self.gone_within(ctx.grace).await {
                return Ok(());
            }
        }
        let killing_since = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        let mut told = false;
        loop {
            let members = self.members();
            if members.is_empty() {
                self.reap();
                return Ok(());
            }
            let denied = members
                .iter()
                .filter(|pid| kill(Pid::from_raw(**pid), Signal::SIGKILL) == Err(Errno::EPERM))
                .count();
            if killing_since.elapsed() >= PATIENCE {
                if denied == members.len() {
                    let message = format!(
                        "{denied} process(es) of the task belong to another user and cannot be ended by the agent: {}; \
                         end them by hand",
                        list(&members)
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
    }

    async fn gone_within(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let mut pause = SHORTEST_PAUSE;
        loop {
            if self.members().is_empty() {
                self.reap();
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn tell_stuck(&self, members: &[i32], ctx: &Context) {
        let message = format!(
            "still waiting for {} killed process(es) to end: {}; the kernel holds them, often because of a disk or \
             network file system that does not answer",
            members.len(),
            list(members)
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
        for (pid, process) in processes() {
            if process.is_zombie && process.parent == own && pid != self.main {
                waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).ok();
            }
        }
    }
}

fn list(pids: &[i32]) -> String {
    pids.iter().take(10).map(i32::to_string).collect::<Vec<_>>().join(", ")
}

/// Every process of the machine that can be seen.
fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect()
}

/// Reads a `stat` line. The name in parentheses may hold anything, parentheses and line ends too.
fn parse(stat: &[u8]) -> Option<Process> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        parent: number()?,
        group: number()?,
        session: number()?,
        is_zombie,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: i32, group: i32, session: i32) -> Process {
        Process {
            parent,
            group,
            session,
            is_zombie: false,
        }
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stat = b"42 (a) b)\n (c) S 7 8 9 0 -1";
        assert_eq!(parse(stat), Some(process(7, 8, 9)));
        assert!(parse(b"42 (x) Z 1 1 1 0").unwrap().is_zombie);
        assert_eq!(parse(b"42 (x) S 1"), None);
    }

    #[test]
    fn under_a_reaper_every_descendant_counts_and_nothing_else() {
        let processes = HashMap::from([
            (1, process(0, 1, 1)),
            (10, process(1, 10, 10)),
            (11, process(10, 11, 10)),
            (12, process(11, 11, 10)),
            // Forked twice, own session: came back to the reaper.
            (13, process(10, 13, 13)),
            (20, process(1, 11, 10)),
        ]);
        let mut members = ProcessTree {
            main: 11,
            reaper: Some(10),
        }
        .members_of(&processes);
        members.sort_unstable();
        assert_eq!(members, [11, 12, 13]);
    }

    #[test]
    fn without_one_group_and_session_count() {
        let processes = HashMap::from([
            (11, process(10, 11, 10)),
            (12, process(1, 11, 10)),
            (13, process(12, 13, 10)),
            (14, process(1, 14, 14)),
        ]);
        let mut members = ProcessTree { main: 11, reaper: None }.members_of(&processes);
        members.sort_unstable();
        assert_eq!(members, [11, 12, 13]);
    }
}
