//! The fork server: a small process beside the agent that forks a runner for each attempt.
//!
//! A program start costs several times a fork: loading, linking and touching memory anew, for every task. This process
//! has done that once. It has one thread, no event loop and no secrets, so a fork of it is a whole runner. One of them, the
//! spare, is forked ahead and waits: no task waits for a fork. The agent talks to the server by its standard input, a
//! socket, and the server to its spare by a pipe:
//!
//! ```text
//! agent → server → spare   u32 LE length, path of an attempt's folder
//! server → agent           S started · F not started · X ended, then 16 bytes attempt id, i32 LE: pid · errno · status
//! ```
//! The server ends when the agent does, and the spare when the server does; runners live on. What they say about
//! themselves, a panic say, goes where the agent's own log goes.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{fd::AsFd, unix::ffi::OsStringExt, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fork::Fork;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, dup2_stdin, setsid},
};
use opslink::{
    event::{Event, EventBody, Stream},
    id::AttemptId,
    pb,
};

use super::{Spool, conclude::Verdict, sealer::Sealer};
use crate::{
    crashpoint,
    journal::{AttemptDir, boot_id},
};

/// Longest path of an attempt's folder.
const PATH_MAX: usize = 4_096;
/// Bytes of what the server says at a time.
pub(crate) const WORD_BYTES: usize = 21;

/// A spare that lives so long was not ended by what it needs at its start.
const LONG_LIFE: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many spares may die with an order for them in their pipe before the order is refused.
const TRIES: u32 = 3;

/// What the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A runner is there, with this process number; 0 from a server that does not say.
    Started(AttemptId, i32),
    /// None could be forked, for this error number.
    Unstartable(AttemptId, i32),
    /// A runner has ended: its exit code, or the negative number of the signal that ended it.
    Ended(AttemptId, i32),
}

impl Word {
    fn to_bytes(self) -> [u8; WORD_BYTES] {
        let (kind, id, number) = match self {
            Self::Started(id, pid) => (b'S', id, pid),
            Self::Unstartable(id, errno) => (b'F', id, errno),
            Self::Ended(id, status) => (b'X', id, status),
        };
        let mut bytes = [kind; WORD_BYTES];
        if let Some((_, rest)) = bytes.split_first_mut() {
            let (place, end) = rest.split_at_mut(16);
            place.copy_from_slice(id.uuid().as_bytes());
            end.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`serve`] wrote; nothing when it is none of that.
    pub(crate) fn from_bytes(bytes: [u8; WORD_BYTES]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (id, number) = rest.split_first_chunk::<16>()?;
        let id = AttemptId::from_uuid(uuid::Uuid::from_bytes(*id));
        let number = i32::from_le_bytes(number.try_into().ok()?);
        match kind {
            b'S' => Some(Self::Started(id, number)),
            b'F' => Some(Self::Unstartable(id, number)),
            b'X' => Some(Self::Ended(id, number)),
            _ => None,
        }
    }
}

/// Encodes the wish for a runner.
pub(crate) fn request(attempt: &Path) -> Vec<u8> {
    let path = attempt.as_os_str().as_encoded_bytes();
    let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), path].concat()
}

/// Why [`serve`] came back.
#[derive(Debug)]
pub enum Served {
    /// The agent is gone.
    Done,
    /// This process is a fresh one, which is to become a runner.
    Spare(Spare),
}

/// A process that waits to become a runner.
#[derive(Debug)]
pub struct Spare {
    orders: PipeReader,
}

impl Spare {
    /// Waits for the folder of an attempt; `None` when the server is gone and there will be none.
    ///
    /// # Errors
    /// Those of the pipe.
    pub fn attempt(mut self) -> io::Result<Option<PathBuf>> {
        read_request(&mut self.orders)
    }
}

/// The server's end of a spare.
struct Ahead {
    pid: Pid,
    orders: PipeWriter,
    since: Instant,
}

/// When the next spare may be forked: a machine that ends them as soon as they are there (no memory, no file descriptors)
/// is not kept busy with that.
#[derive(Debug, Default)]
struct Pause {
    ended_early: u32,
    until: Option<Instant>,
}

impl Pause {
    /// A spare has ended without having become a runner.
    fn spare_ended(&mut self, since: Instant) {
        if since.elapsed() >= LONG_LIFE {
            self.ended_early = 0;
        }
        self.ended_early = self.ended_early.saturating_add(1);
        // The first may have been killed by somebody, once.
        if self.ended_early > 1 {
            let pause = SHORTEST_PAUSE * 2u32.saturating_pow(self.ended_early.min(10) - 2);
            self.until = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        }
    }

    /// A spare has become a runner: they live.
    fn is_well(&mut self) {
        *self = Self::default();
    }

    /// The time that is left of it.
    fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// What a fork has made of this process.
enum Forked {
    Child(Spare),
    Parent(Ahead),
}

/// Makes a runner for every folder that the agent names. Returns in the server when the agent is gone, and in every
/// process that it forks at once.
///
/// # Errors
/// The socket or the kernel's calls failed; runners live on without the server.
pub fn serve() -> io::Result<Served> {
    // Out of the terminal's group: Ctrl-C ends the agent, and that ends this.
    setsid().ok();
    warm_up();
    let mut agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let nothing = File::open("/dev/null")?;
    dup2_stdin(&nothing)?;
    let mut chld = SigSet::empty();
    chld.add(Signal::SIGCHLD);
    chld.thread_block()?;
    let ends = SignalFd::with_flags(&chld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut runners: Vec<(Pid, AttemptId)> = Vec::new();
    let mut ahead: Option<Ahead> = None;
    let mut wanted: Option<(PathBuf, AttemptId)> = None;
    let mut pause = Pause::default();
    let mut tries = 0;
    loop {
        let mut errno = 0;
        // Whoever wants a runner waits for no pause.
        if ahead.is_none() && (wanted.is_some() || pause.left().is_none()) {
            match fork_spare() {
                Ok(Forked::Child(spare)) => {
                    drop((agent, ends));
                    chld.thread_unblock()?;
                    return Ok(Served::Spare(spare));
                }
                Ok(Forked::Parent(spare)) => ahead = Some(spare),
                // Told when a runner is wanted and there is still none.
                Err(error) => errno = error.raw_os_error().unwrap_or_default(),
            }
        }
        if let Some((attempt, id)) = wanted.take() {
            match ahead.take() {
                Some(mut spare) => match spare.orders.write_all(&request(&attempt)) {
                    Ok(()) => {
                        tries = 0;
                        pause.is_well();
                        crashpoint!("fork_server.handed_over");
                        runners.push((spare.pid, id));
                        agent.write_all(&Word::Started(id, spare.pid.as_raw()).to_bytes())?;
                    }
                    // Somebody has killed it: the next one then.
                    Err(_) if tries < TRIES => {
                        tries += 1;
                        wanted = Some((attempt, id));
                    }
                    Err(error) => {
                        tries = 0;
                        let errno = error.raw_os_error().unwrap_or_default();
                        agent.write_all(&Word::Unstartable(id, errno).to_bytes())?;
                    }
                },
                None => agent.write_all(&Word::Unstartable(id, errno).to_bytes())?,
            }
            continue;
        }
        let (spoken, ended) = wait(&agent, &ends, pause.left().filter(|_| ahead.is_none()))?;
        if ended {
            while ends.read_signal()?.is_some() {}
            reap(&mut agent, &mut runners, &mut ahead, &mut pause)?;
        }
        if spoken {
            let Some(attempt) = read_request(&mut agent)? else {
                return Ok(Served::Done);
            };
            let id = AttemptDir::open(&attempt)?.id();
            wanted = Some((attempt, id));
        }
    }
}

/// Does once what every fork would do anew: asks the processor what it can (a trap in a virtual machine, again for each
/// library), and brings the code of a short attempt into memory.
fn warm_up() {
    struct Nowhere;
    impl Spool for Nowhere {
        fn append(&self, _chunk: pb::LogChunk) -> io::Result<()> {
            Ok(())
        }
    }
    boot_id();
    let mut sealer = Sealer::new(AttemptId::new(), Arc::new(Nowhere));
    let body = EventBody::Output {
        stream: Stream::Stdout,
        data: Bytes::from_static(b"a line\n"),
    };
    sealer.push(Event { time_us: 0, body }, Duration::ZERO);
    sealer.finish(Verdict::canceled_before_start());
}

fn fork_spare() -> io::Result<Forked> {
    let (theirs, orders) = io::pipe()?;
    match fork::fork()? {
        Fork::Child => Ok(Forked::Child(Spare { orders: theirs })),
        Fork::Parent(pid) => Ok(Forked::Parent(Ahead {
            pid: Pid::from_raw(pid),
            orders,
            since: Instant::now(),
        })),
    }
}

/// Waits for a word of the agent or the end of a runner, for so long; says which came.
fn wait(agent: &UnixStream, ends: &SignalFd, limit: Option<Duration>) -> io::Result<(bool, bool)> {
    let limit = limit.map_or(PollTimeout::NONE, |limit| {
        // Rounded up: a limit that is almost over is no reason to spin.
        PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    let mut fds = [
        PollFd::new(agent.as_fd(), PollFlags::POLLIN),
        PollFd::new(ends.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, limit) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [agent, ends] = fds.map(|fd| fd.any().unwrap_or(false));
    Ok((agent, ends))
}

fn reap(
    agent: &mut UnixStream,
    runners: &mut Vec<(Pid, AttemptId)>,
    ahead: &mut Option<Ahead>,
    pause: &mut Pause,
) -> io::Result<()> {
    loop {
        let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, -(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(spare) = ahead.take_if(|spare| spare.pid == pid) {
            pause.spare_ended(spare.since);
        }
        if let Some(at) = runners.iter().position(|(known, _)| *known == pid) {
            let (_, id) = runners.swap_remove(at);
            agent.write_all(&Word::Ended(id, status).to_bytes())?;
        }
    }
}

fn read_request(from: &mut impl Read) -> io::Result<Option<PathBuf>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > PATH_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a path that is too long"));
    }
    let mut path = vec![0; length];
    from.read_exact(&mut path)?;
    Ok(Some(OsString::from_vec(path).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_that_die_at_once_are_forked_ever_more_slowly() {
        let mut pause = Pause::default();
        let now = Instant::now();
        pause.spare_ended(now);
        assert_eq!(pause.left(), None, "one may be killed by chance");
        let pauses: Vec<_> = (0..8)
            .map(|_| {
                pause.spare_ended(now);
                pause.left().unwrap()
            })
            .collect();
        assert!(
            pauses[0] <= SHORTEST_PAUSE && pauses.is_sorted_by_key(|pause| pause.as_millis() / 50),
            "{pauses:?}"
        );
        assert!(
            pauses[7] > LONGEST_PAUSE / 2 && pauses[7] <= LONGEST_PAUSE,
            "{pauses:?}"
        );
        pause.is_well();
        assert_eq!(pause.left(), None);
    }

    #[test]
    fn a_word_comes_back_as_it_went() {
        let id = AttemptId::new();
        for word in [
            Word::Started(id, 4711),
            Word::Unstartable(id, 11),
            Word::Ended(id, 0),
            Word::Ended(id, -9),
        ] {
            assert_eq!(Word::from_bytes(word.to_bytes()), Some(word));
        }
        assert_eq!(Word::from_bytes([b'?'; WORD_BYTES]), None);
    }
}
