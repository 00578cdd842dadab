//! The agent's end of the fork server: starts it, asks it for runners, and starts it anew when it is gone.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use opslink::id::AttemptId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Child,
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
};

use crate::{
    journal::AttemptDir,
    runner::fork_server::{WORD_BYTES, Word, request},
};

/// A way to have runners forked.
pub(super) struct ForkServer {
    program: PathBuf,
    /// The agent's socket, which runners dial.
    socket: PathBuf,
    ended: mpsc::Sender<(AttemptId, i32)>,
    line: AsyncMutex<Option<Line>>,
}

/// What became of a wish for a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forked {
    /// It is there.
    Started,
    /// The servers died before they answered: it may be there.
    Unknown,
}

/// The connection to one server process.
struct Line {
    writer: OwnedWriteHalf,
    waiting: Arc<Waiting>,
}

/// Those who wait for their runner. Gone for good once the server is.
#[derive(Default)]
struct Waiting {
    is_over: AtomicBool,
    answers: Mutex<BTreeMap<AttemptId, oneshot::Sender<io::Result<()>>>>,
}

impl Waiting {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<AttemptId, oneshot::Sender<io::Result<()>>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, id: AttemptId, answer: io::Result<()>) {
        let waiting = self.answers().remove(&id);
        if let Some(waiting) = waiting {
            waiting.send(answer).ok();
        }
    }
}

impl ForkServer {
    /// Starts nothing yet. `program` is this agent's own executable, `socket` what runners dial. The ends of runners
    /// go to `ended`, with their exit code or the negative number of the signal that ended them.
    pub(super) fn new(program: PathBuf, socket: PathBuf, ended: mpsc::Sender<(AttemptId, i32)>) -> Self {
        Self {
            program,
            socket,
            ended,
            line: AsyncMutex::default(),
        }
    }

    /// Starts the server process, unless it is there.
    ///
    /// # Errors
    /// Those of starting a process.
    pub(super) async fn warm_up(&self) -> io::Result<()> {
        self.line(&mut *self.line.lock().await).map(|_| ())
    }

    /// Forks a runner for this attempt.
    ///
    /// # Errors
    /// No process can be started. Nothing runs then.
    pub(super) async fn fork(&self, attempt: &AttemptDir) -> io::Result<Forked> {
        // A server that was killed may have forked before: the second runner then finds the first one's lock.
        for _ in 0..2 {
            let (answer, answered) = oneshot::channel();
            {
                let mut place = self.line.lock().await;
                let line = self.line(&mut place)?;
                line.waiting.answers().insert(attempt.id(), answer);
                if line.writer.write_all(&request(attempt.path())).await.is_err() {
                    *place = None;
                    continue;
                }
            }
            if let Ok(answer) = answered.await {
                return answer.map(|()| Forked::Started);
            }
        }
        Ok(Forked::Unknown)
    }

    fn line<'a>(&self, place: &'a mut Option<Line>) -> io::Result<&'a mut Line> {
        if place
            .as_ref()
            .is_some_and(|line| line.waiting.is_over.load(Ordering::Acquire))
        {
            *place = None;
        }
        match place {
            Some(line) => Ok(line),
            None => Ok(place.insert(self.start()?)),
        }
    }

    fn start(&self) -> io::Result<Line> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // No `pre_exec`, no uid: the standard library then uses posix_spawn, whose cost does not grow with this process.
        let child = tokio::process::Command::new(&self.program)
            .args(["fork-server", "--socket"])
            .arg(&self.socket)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let waiting = Arc::new(Waiting::default());
        // Ends when the server does, which ends when the writer is dropped.
        tokio::spawn(hear(child, reader, Arc::clone(&waiting), self.ended.clone()));
        Ok(Line { writer, waiting })
    }
}

async fn hear(
    mut child: Child,
    mut reader: OwnedReadHalf,
    waiting: Arc<Waiting>,
    ended: mpsc::Sender<(AttemptId, i32)>,
) {
    let mut bytes = [0; WORD_BYTES];
    while reader.read_exact(&mut bytes).await.is_ok() {
        match Word::from_bytes(bytes) {
            Some(Word::Started(id)) => waiting.answer(id, Ok(())),
            Some(Word::Unstartable(id, errno)) => waiting.answer(id, Err(io::Error::from_raw_os_error(errno))),
            Some(Word::Ended(id, status)) => drop(ended.send((id, status)).await),
            None => break,
        }
    }
    waiting.is_over.store(true, Ordering::Release);
    // Dropped senders are answers too.
    waiting.answers().clear();
    match child.wait().await {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::warn!(%status, "the fork server ended badly; the next task starts another one"),
        Err(error) => tracing::warn!(%error, "the fork server could not be waited for"),
    }
}
