//! The runner's end of `agent.sock`: tells the agent of new chunks, hears of cancels and acknowledgements. The words:
//! [`crate::line`].
//!
//! The agent may be absent or restart at any time: the runner redials, and what it had to say is in the journal.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use opslink::id::AttemptId;
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::disk_spool::DiskSpool;
use crate::line::{self, FromAgent, FromRunner};

const REDIAL_AFTER: Duration = Duration::from_millis(200);

/// Longest wait for the agent to take the last word. It reads the journal anyway.
const LAST_WORD_WITHIN: Duration = Duration::from_millis(200);

/// The link to the agent. Its task ends with [`AgentSocket::ended`], or with the runtime.
pub(super) struct AgentSocket {
    task: JoinHandle<()>,
    ended: CancellationToken,
}

impl AgentSocket {
    /// Starts dialing; never waits for the agent.
    pub(super) fn start(path: &Path, attempt: AttemptId, spool: Arc<DiskSpool>, cancel: CancellationToken) -> Self {
        let ended = CancellationToken::new();
        let line = Line {
            path: path.to_owned(),
            attempt,
            spool,
            cancel,
            ended: ended.clone(),
        };
        Self {
            task: tokio::spawn(line.keep()),
            ended,
        }
    }

    /// Tells the agent that the journal holds the end, if it is there to hear it.
    pub(super) async fn ended(self) {
        self.ended.cancel();
        tokio::time::timeout(LAST_WORD_WITHIN, self.task).await.ok();
    }
}

struct Line {
    path: PathBuf,
    attempt: AttemptId,
    spool: Arc<DiskSpool>,
    cancel: CancellationToken,
    ended: CancellationToken,
}

impl Line {
    async fn keep(self) {
        loop {
            // Any error means that the agent is gone; it says nothing that would help.
            let spoken = self.speak().await;
            if self.ended.is_cancelled() {
                return;
            }
            drop(spoken);
            tokio::select! {
                () = tokio::time::sleep(REDIAL_AFTER) => {}
                // One more try: the agent may be back.
                () = self.ended.cancelled() => {}
            }
        }
    }

    async fn speak(&self) -> io::Result<()> {
        let (reader, writer) = UnixStream::connect(&self.path).await?.into_split();
        tokio::try_join!(self.tell(writer), self.hear(reader)).map(|_| ())
    }

    /// Ends with `Ok` only after the last word.
    async fn tell(&self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let hello = FromRunner::Hello {
            id: self.attempt,
            next_seq: self.spool.next_seq(),
        };
        line::open(&mut writer, hello).await?;
        let mut is_heard = false;
        loop {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {
                    line::say(&mut writer, FromRunner::Ended(self.spool.next_seq())).await?;
                    return writer.shutdown().await;
                }
                () = self.cancel.cancelled(), if !is_heard => {
                    is_heard = true;
                    line::say(&mut writer, FromRunner::Heard).await?;
                }
                () = self.spool.written.notified() => {
                    line::say(&mut writer, FromRunner::Written(self.spool.next_seq())).await?;
                }
            }
        }
    }

    async fn hear(&self, mut reader: OwnedReadHalf) -> io::Result<()> {
        loop {
            let word = tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                word = line::hear(&mut reader) => word?,
            };
            match word {
                FromAgent::Cancel => self.cancel.cancel(),
                FromAgent::Acknowledged(next_seq) => self.spool.acknowledge(next_seq),
            }
        }
    }
}
