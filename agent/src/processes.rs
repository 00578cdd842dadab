//! The machine's processes as `/proc` shows them, and signals that reach only whom they are meant for.

use std::{collections::HashMap, fs};

use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    pub name: String,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    pub is_zombie: bool,
    /// Clock ticks from boot to its start: tells it from a later one that got the same number.
    pub start_ticks: u64,
}

impl Process {
    /// Reads a process; `None` when there is none of this number.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Sends a signal to this very process.
    ///
    /// # Errors
    /// `ESRCH` when it is gone, also when another one has its number; `EPERM` when it belongs to somebody else.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or(Errno::ESRCH)?;
        let Some(number) = rustix::process::Signal::from_named_raw(signal as i32) else {
            return Err(Errno::EINVAL);
        };
        // The descriptor holds whoever has the number now; that it is the one that was meant is asked after it.
        let handle = pidfd_open(pid, PidfdFlags::empty());
        if Self::read(self.pid).is_none_or(|now| now.start_ticks != self.start_ticks) {
            return Err(Errno::ESRCH);
        }
        match handle {
            Ok(handle) => pidfd_send_signal(handle, number).map_err(|error| Errno::from_raw(error.raw_os_error())),
            // Kernels before 5.3.
            Err(rustix::io::Errno::NOSYS) => nix::sys::signal::kill(Pid::from_raw(self.pid), signal),
            Err(error) => Err(Errno::from_raw(error.raw_os_error())),
        }
    }

    /// Says whether its environment, as it was at its start, holds `name=value`.
    pub(crate) fn has_variable(&self, name: &str, value: &str) -> bool {
        let wanted = format!("{name}={value}");
        fs::read(format!("/proc/{}/environ", self.pid)).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == wanted.as_bytes())
        })
    }
}

/// Every process of the machine that can be seen.
pub(crate) fn all() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, Process::read(pid)?))
        })
        .collect()
}

/// Names processes for people: the first ten.
pub(crate) fn list<'a>(processes: impl IntoIterator<Item = &'a Process>) -> String {
    let named = processes
        .into_iter()
        .take(10)
        .map(|process| format!("{} ({})", process.name, process.pid));
    named.collect::<Vec<_>>().join(", ")
}

/// Reads a `stat` line. The name in parentheses may hold anything, parentheses and line ends too.
fn parse(stat: &[u8]) -> Option<Process> {
    let (open, close) = (memchr::memchr(b'(', stat)?, memchr::memrchr(b')', stat)?);
    let pid = std::str::from_utf8(stat.get(..open)?).ok()?.trim().parse().ok()?;
    let name = stat.get(open + 1..close)?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        pid,
        name: String::from_utf8_lossy(name).into_owned(),
        parent: number()?,
        group: number()?,
        session: number()?,
        is_zombie,
        // Field 22; the session was the 6th.
        start_ticks: fields.nth(15)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stat = b"42 (a) b)\n (c) S 7 8 9 0 -1 4194560 99 1 0 0 1 2 3 4 20 0 1 0 5555 1 2";
        let process = parse(stat).unwrap();
        assert_eq!(
            (process.pid, process.parent, process.group, process.session),
            (42, 7, 8, 9)
        );
        assert_eq!((process.name.as_str(), process.start_ticks), ("a) b)\n (c", 5555));
        assert_eq!(parse(b"42 (x) S 1"), None);
    }

    #[test]
    fn a_later_process_with_the_same_number_is_not_hit() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::read(child.id() as i32).unwrap();
        let earlier = Process {
            start_ticks: process.start_ticks - 1,
            ..process.clone()
        };
        assert_eq!(earlier.signal(Signal::SIGKILL), Err(Errno::ESRCH));
        assert_eq!(child.try_wait().unwrap(), None);
        process.signal(Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert_eq!(process.signal(Signal::SIGKILL), Err(Errno::ESRCH));
    }
}
