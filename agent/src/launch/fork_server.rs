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
    time::Duration,
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
    time::timeout,
};

use crate::{
    journal::AttemptDir,
    remains,
    runner::fork_server::{WORD_BYTES, Word, request},
};

/// So long a server may take for a wish: it answers within milliseconds, unless somebody has stopped it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A way to have runners forked.
pub(super) struct ForkServer {
    program: PathBuf,
    /// The agent's socket, which runners dial.
    socket: PathBuf,
    ended: mpsc::Sender<RunnerEnd>,
    line: AsyncMutex<Option<Line>>,
}

/// What became of a wish for a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forked {
    /// It is there, with this process number; 0 when the server does not say.
    Started(u32),
    /// A server died before it answered, or does not answer: it may be there.
    Unknown,
}

/// What is heard of the ends of runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunnerEnd {
    /// One has ended, with its exit code or the negative number of the signal that ended it.
    One(AttemptId, i32),
    /// The server is gone: of those that it forked, no end will be heard any more.
    Untold,
}

/// The connection to one server process.
struct Line {
    writer: OwnedWriteHalf,
    waiting: Arc<Waiting>,
}

/// Takes the number of the runner's process.
type Answer = oneshot::Sender<io::Result<u32>>;

/// Those who wait for their runner. Gone for good once the server is.
#[derive(Default)]
struct Waiting {
    is_over: AtomicBool,
    answers: Mutex<BTreeMap<AttemptId, Answer>>,
}

impl Waiting {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, id: AttemptId, answer: io::Result<u32>) {
        let waiting = self.answers().remove(&id);
        if let Some(waiting) = waiting {
            waiting.send(answer).ok();
        }
    }
}

impl ForkServer {
    /// Starts nothing yet. `program` is this agent's own executable, `socket` what runners dial. The ends of runners
    /// go to `ended`.
    pub(super) fn new(program: PathBuf, socket: PathBuf, ended: mpsc::Sender<RunnerEnd>) -> Self {
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
        // A server that was killed may have forked before: the second runner then finds the first one's lock. And that
        // no second one can be started says nothing of the first.
        let mut may_be_there = false;
        for _ in 0..2 {
            let (answer, answered) = oneshot::channel();
            let waiting = {
                let mut place = self.line.lock().await;
                let line = match self.line(&mut place) {
                    Ok(line) => line,
                    Err(_) if may_be_there => return Ok(Forked::Unknown),
                    Err(error) => return Err(error),
                };
                let waiting = Arc::clone(&line.waiting);
                waiting.answers().insert(attempt.id(), answer);
                let wish = request(attempt.path());
                // What was written of it then is no whole wish, and nobody writes the rest.
                let Ok(Ok(())) = timeout(ANSWER_WITHIN, line.writer.write_all(&wish)).await else {
                    *place = None;
                    continue;
                };
                waiting
            };
            match timeout(ANSWER_WITHIN, answered).await {
                Ok(Ok(Ok(pid))) => return Ok(Forked::Started(pid)),
                Ok(Ok(Err(_))) if may_be_there => return Ok(Forked::Unknown),
                Ok(Ok(Err(error))) => return Err(error),
                // The server is gone.
                Ok(Err(_)) => may_be_there = true,
                Err(_) => {
                    self.leave(&waiting).await;
                    return Ok(Forked::Unknown);
                }
            }
        }
        Ok(Forked::Unknown)
    }

    /// Lets go of a server that does not answer: it ends when it can, and the next wish starts another one.
    async fn leave(&self, waiting: &Arc<Waiting>) {
        let mut place = self.line.lock().await;
        if let Some(line) = place.take_if(|line| Arc::ptr_eq(&line.waiting, waiting)) {
            tracing::warn!("the fork server does not answer; the next task starts another one");
            drop(line);
        }
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
            // Of a task that has started this agent: its runners do not belong to that one.
            .env_remove(remains::MARK)
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

async fn hear(mut child: Child, mut reader: OwnedReadHalf, waiting: Arc<Waiting>, ended: mpsc::Sender<RunnerEnd>) {
    let mut bytes = [0; WORD_BYTES];
    while reader.read_exact(&mut bytes).await.is_ok() {
        match Word::from_bytes(bytes) {
            Some(Word::Started(id, pid)) => waiting.answer(id, Ok(u32::try_from(pid).unwrap_or(0))),
            Some(Word::Unstartable(id, errno)) => waiting.answer(id, Err(io::Error::from_raw_os_error(errno))),
            Some(Word::Ended(id, status)) => drop(ended.send(RunnerEnd::One(id, status)).await),
            None => break,
        }
    }
    waiting.is_over.store(true, Ordering::Release);
    // Dropped senders are answers too.
    waiting.answers().clear();
    ended.send(RunnerEnd::Untold).await.ok();
    match child.wait().await {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::warn!(%status, "the fork server ended badly; the next task starts another one"),
        Err(error) => tracing::warn!(%error, "the fork server could not be waited for"),
    }
}
