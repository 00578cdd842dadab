//! Records of an attempt's `state` file.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf, sync::LazyLock};

use bytes::{Buf, BufMut};
use nix::sys::signal::Signal;
use opslink::pb;
use prost::Message;

use super::frame::{HEADER_BYTES, Scan, finish};
use crate::{policy::Permit, processes};

/// A process, told from a later one that got the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from boot to its start (field 22 of `/proc/<pid>/stat`); 0 where there is no `/proc`.
    pub start_ticks: u64,
    /// The boot it belongs to.
    pub boot_id: String,
}

impl Process {
    /// Describes the calling process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start_ticks: start_ticks(pid).unwrap_or(0),
            boot_id: boot_id(),
        }
    }

    /// Describes the process that has this number now; `None` when there is none.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start_ticks: start_ticks(pid)?,
            boot_id: boot_id(),
        })
    }

    /// Says whether that very process still runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        self.found().is_some_and(|process| !process.is_zombie)
    }

    /// Ends that very process at once, if it is there.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.found() {
            process.signal(Signal::SIGKILL).ok();
        }
    }

    fn found(&self) -> Option<processes::Process> {
        let process = processes::Process::read(i32::try_from(self.pid).ok()?)?;
        (self.boot_id == boot_id() && process.start_ticks == self.start_ticks).then_some(process)
    }
}

/// Start time of a process; `None` when it is gone.
fn start_ticks(pid: u32) -> Option<u64> {
    processes::Process::read(i32::try_from(pid).ok()?).map(|process| process.start_ticks)
}

/// The id of this boot of the machine; empty where it has none. Read once: no process outlives a boot.
pub fn boot_id() -> String {
    static BOOT_ID: LazyLock<String> = LazyLock::new(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned()
    });
    BOOT_ID.clone()
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Received {
        time_us: i64,
        boot_id: String,
        /// The encoded `SignedEnvelope`.
        envelope: Vec<u8>,
    },
    Permitted(Permit),
    Started {
        time_us: i64,
        process: Process,
    },
    Ended(pb::Outcome),
}

const RECEIVED: u8 = 1;
const STARTED: u8 = 2;
const ENDED: u8 = 3;
/// Agents of 0.1.0 pass it over.
const PERMITTED: u8 = 4;

impl Record {
    /// Encodes as a whole frame.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        match self {
            Self::Received {
                time_us,
                boot_id,
                envelope,
            } => {
                out.put_u8(RECEIVED);
                out.put_i64_le(*time_us);
                // The system's own word, 36 bytes; cut rather than wrong.
                let length = u8::try_from(boot_id.len()).unwrap_or(u8::MAX);
                out.put_u8(length);
                out.put_slice(boot_id.as_bytes().get(..length.into()).unwrap_or_default());
                out.put_slice(envelope);
            }
            Self::Permitted(permit) => {
                out.put_u8(PERMITTED);
                // Neither a path nor a name holds a NUL.
                let program = permit
                    .program
                    .as_deref()
                    .map_or(&[][..], |path| path.as_os_str().as_bytes());
                out.put_slice(program);
                for name in &permit.inherit {
                    out.put_u8(0);
                    out.put_slice(name.as_bytes());
                }
            }
            Self::Started { time_us, process } => {
                out.put_u8(STARTED);
                out.put_i64_le(*time_us);
                out.put_u32_le(process.pid);
                out.put_u64_le(process.start_ticks);
                out.put_slice(process.boot_id.as_bytes());
            }
            Self::Ended(outcome) => {
                out.put_u8(ENDED);
                out.put_slice(&outcome.encode_to_vec());
            }
        }
        finish(&mut out);
        out
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        match bytes.try_get_u8().ok()? {
            RECEIVED => {
                let time_us = bytes.try_get_i64_le().ok()?;
                let length = bytes.try_get_u8().ok()?;
                let (boot_id, envelope) = bytes.split_at_checked(length.into())?;
                Some(Self::Received {
                    time_us,
                    boot_id: text(boot_id)?,
                    envelope: envelope.to_vec(),
                })
            }
            STARTED => {
                let time_us = bytes.try_get_i64_le().ok()?;
                let pid = bytes.try_get_u32_le().ok()?;
                let start_ticks = bytes.try_get_u64_le().ok()?;
                Some(Self::Started {
                    time_us,
                    process: Process {
                        pid,
                        start_ticks,
                        boot_id: text(bytes)?,
                    },
                })
            }
            PERMITTED => {
                let mut fields = bytes.split(|byte| *byte == 0);
                let program = fields.next().filter(|path| !path.is_empty());
                let inherit = fields.map(text).collect::<Option<_>>()?;
                Some(Self::Permitted(Permit {
                    program: program.map(|path| PathBuf::from(OsStr::from_bytes(path))),
                    inherit,
                }))
            }
            ENDED => pb::Outcome::decode(bytes).ok().map(Self::Ended),
            // Written by a later version: nothing that this one must know.
            _ => None,
        }
    }
}

/// What the `state` file of an attempt says, taken together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttemptRecord {
    /// When the agent took the attempt, microseconds since 1970.
    pub received_time_us: Option<i64>,
    /// The boot in which it was taken.
    pub received_boot_id: String,
    /// The encoded `SignedEnvelope`, as it came.
    pub envelope: Vec<u8>,
    /// What the machine's owner lets it use.
    pub permit: Permit,
    /// When the runner started, microseconds since 1970.
    pub started_time_us: Option<i64>,
    /// The runner.
    pub runner: Option<Process>,
    /// How it ended.
    pub outcome: Option<pb::Outcome>,
    /// Length of the valid prefix of the file.
    pub valid_bytes: u64,
}

impl AttemptRecord {
    /// Reads the content of a `state` file; what is torn or damaged, and all after it, is left out.
    pub fn read(bytes: &[u8]) -> Self {
        let mut record = Self::default();
        let mut scan = Scan::new(bytes);
        for payload in scan.by_ref() {
            match Record::parse(payload) {
                Some(Record::Received {
                    time_us,
                    boot_id,
                    envelope,
                }) => {
                    record.received_time_us = Some(time_us);
                    record.received_boot_id = boot_id;
                    record.envelope = envelope;
                }
                Some(Record::Permitted(permit)) => record.permit = permit,
                Some(Record::Started { time_us, process }) => {
                    record.started_time_us = Some(time_us);
                    record.runner = Some(process);
                }
                Some(Record::Ended(outcome)) => record.outcome = Some(outcome),
                None => {}
            }
        }
        record.valid_bytes = scan.valid_bytes() as u64;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_written() {
        let process = Process {
            pid: 7,
            start_ticks: 99,
            boot_id: "boot".into(),
        };
        let outcome = pb::Outcome {
            exit_code: Some(3),
            ..Default::default()
        };
        let permit = Permit {
            program: Some("/usr/bin/deploy".into()),
            inherit: vec!["HTTPS_PROXY".into(), "LC_*".into()],
        };
        let bytes: Vec<u8> = [
            Record::Received {
                time_us: 5,
                boot_id: "boot".into(),
                envelope: b"task".to_vec(),
            },
            Record::Permitted(permit.clone()),
            Record::Started {
                time_us: 6,
                process: process.clone(),
            },
            Record::Ended(outcome.clone()),
        ]
        .iter()
        .flat_map(Record::to_frame)
        .collect();
        let read = AttemptRecord::read(&bytes);
        assert_eq!(read.received_time_us, Some(5));
        assert_eq!(
            (read.received_boot_id.as_str(), &*read.envelope),
            ("boot", &b"task"[..])
        );
        assert_eq!(read.permit, permit);
        assert_eq!(read.runner, Some(process));
        assert_eq!(read.outcome, Some(outcome));
        assert_eq!(read.valid_bytes, bytes.len() as u64);
    }

    #[test]
    fn this_process_is_alive_and_a_stranger_with_its_number_is_not() {
        let me = Process::current();
        assert!(me.is_alive());
        assert!(
            !Process {
                start_ticks: me.start_ticks + 1,
                ..me.clone()
            }
            .is_alive()
        );
        assert!(
            !Process {
                boot_id: "another".into(),
                ..me
            }
            .is_alive()
        );
    }
}
