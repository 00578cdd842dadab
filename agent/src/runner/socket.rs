//! The runner's end of `agent.sock`: tells the agent of new chunks, hears of cancels and acknowledgements.
//!
//! ```text
//! runner → agent   16 bytes attempt id, then  C new chunk in the file · E ended
//! agent → runner   K cancel · A + u64 LE: the cloud has everything below this seq
//! ```
//! The agent may be absent or restart at any time: the runner redials, and what it had to say is in the journal.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use opslink::id::AttemptId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::disk_spool::DiskSpool;

const REDIAL_AFTER: Duration = Duration::from_millis(200);

/// Longest wait for the agent to take the last word. It reads the journal anyway.
const LAST_WORD_WITHIN: Duration = Duration::from_millis(200);

const NEW_CHUNK: &[u8] = b"C";
const ENDED: &[u8] = b"E";
const CANCEL: u8 = b'K';
const ACKNOWLEDGED: u8 = b'A';

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
        writer.write_all(self.attempt.uuid().as_bytes()).await?;
        loop {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {
                    writer.write_all(ENDED).await?;
                    return writer.shutdown().await;
                }
                () = self.spool.written.notified() => writer.write_all(NEW_CHUNK).await?,
            }
        }
    }

    async fn hear(&self, mut reader: OwnedReadHalf) -> io::Result<()> {
        loop {
            let word = tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                word = reader.read_u8() => word?,
            };
            match word {
                CANCEL => self.cancel.cancel(),
                ACKNOWLEDGED => self.spool.acknowledge(reader.read_u64_le().await?),
                // A newer agent may say more than this runner knows: a word is one byte unless it is known here.
                _unknown => {}
            }
        }
    }
}
