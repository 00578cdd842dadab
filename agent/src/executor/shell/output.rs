//! From the pipes of a process to the sink.

use std::{
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use nix::fcntl::{FcntlArg, fcntl};
use opslink::{
    event::{Event, EventBody, Level, Note, Stream},
    reason::Reason,
    time::UnixMicros,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

use super::tree::ProcessTree;
use crate::executor::{Context, Sink};

/// How long output is waited for after the main process has ended, when somebody still holds its pipes.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Reads of 64 KiB are as fast as any (measured); larger ones leave the processor's cache.
const READ_BYTES: usize = 64 * 1024;

/// Reads shorter than this are copied, so that a small line does not hold a big buffer.
const COPY_BELOW: usize = 8 * 1024;

/// Asked of the kernel, so that a process that prints much waits less often. This is what every user may have.
const PIPE_BYTES: i32 = 1024 * 1024;

/// A read of so much shows that the process prints much: most print a few lines, and need no wide pipe.
const MUCH_BYTES: usize = 16 * 1024;

/// Both pipes of a process.
pub(super) struct Pumps {
    // Locked once, for the life of `run`: the two pipes are used at the same time by parts of one future.
    stdout: Mutex<Option<ChildStdout>>,
    stderr: Mutex<Option<ChildStderr>>,
    sink: Arc<dyn Sink>,
    enough: CancellationToken,
    /// Set when a pipe was left while somebody still held it open.
    left_open: AtomicBool,
}

impl Pumps {
    pub(super) fn new(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>, ctx: &Context) -> Self {
        Self {
            stdout: Mutex::new(stdout),
            stderr: Mutex::new(stderr),
            sink: Arc::clone(&ctx.sink),
            enough: CancellationToken::new(),
            left_open: AtomicBool::new(false),
        }
    }

    /// Reads both until they are closed, or until it is told that it is enough.
    pub(super) async fn run(&self) {
        let (mut stdout, mut stderr) = (self.stdout.lock().await, self.stderr.lock().await);
        tokio::join!(
            self.pump(Stream::Stdout, stdout.as_mut()),
            self.pump(Stream::Stderr, stderr.as_mut())
        );
    }

    async fn pump<P: AsyncRead + AsFd + Unpin>(&self, stream: Stream, pipe: Option<&mut P>) {
        let Some(pipe) = pipe else { return };
        let mut buffer = BytesMut::new();
        let mut is_wide = false;
        loop {
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.enough.cancelled() => return self.drain(stream, pipe).await,
                read = pipe.read_buf(&mut buffer) => read,
            };
            match read {
                // An error of a pipe is as final as its end.
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    if bytes >= MUCH_BYTES && !is_wide {
                        is_wide = true;
                        // Best effort: a user may have used up what the kernel grants; the default of 64 KiB works too.
                        fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).ok();
                    }
                    self.emit(stream, take(&mut buffer)).await;
                }
            }
        }
    }

    /// Takes what is in the pipe now, and no more: somebody may write to it for ever.
    async fn drain<P: AsFd>(&self, stream: Stream, pipe: &mut P) {
        let capacity = fcntl(pipe.as_fd(), FcntlArg::F_GETPIPE_SZ)
            .ok()
            .and_then(|size| usize::try_from(size).ok());
        let mut left = capacity.unwrap_or(READ_BYTES);
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            let read = match nix::unistd::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(_) => break,
            };
            left = left.saturating_sub(read);
            self.emit(stream, Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default()))
                .await;
        }
        self.left_open.store(true, Ordering::Relaxed);
    }

    async fn emit(&self, stream: Stream, data: Bytes) {
        self.sink
            .emit(Event {
                time_us: UnixMicros::now().0,
                body: EventBody::Output { stream, data },
            })
            .await;
    }
}

fn take(buffer: &mut BytesMut) -> Bytes {
    if buffer.len() < COPY_BELOW {
        let bytes = Bytes::copy_from_slice(buffer);
        buffer.clear();
        bytes
    } else {
        buffer.split().freeze()
    }
}

/// The main process has ended and somebody still holds its output: waits a little, then leaves them alone.
pub(super) async fn last_words(
    mut pumping: Pin<&mut impl Future<Output = ()>>,
    pumps: &Pumps,
    tree: &ProcessTree,
    ctx: &Context,
) {
    tokio::select! {
        () = &mut pumping => return,
        () = tokio::time::sleep(LINGER) => {}
        () = ctx.cancel.cancelled() => {}
    }
    pumps.enough.cancel();
    pumping.await;
    if !pumps.left_open.load(Ordering::Relaxed) {
        return;
    }
    let left = tree.members().len();
    let message = match left {
        0 => "another process holds the output of this command open; what it writes from now on is not recorded"
            .to_owned(),
        _ => format!(
            "the command ended and left {left} process(es) running; they are left alone, and what they write from now \
             on is not recorded. To start a service, redirect its output: nohup SERVER >/var/log/x 2>&1 &"
        ),
    };
    let note = Note {
        level: Level::Warning,
        reason: Reason::ProcessesLeftRunning.code().to_owned(),
        message,
    };
    ctx.sink
        .emit(Event {
            time_us: UnixMicros::now().0,
            body: EventBody::Note(note),
        })
        .await;
}
