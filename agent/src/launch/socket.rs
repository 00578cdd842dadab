//! The agent's end of `agent.sock`: runners dial it, say who they are, and tell of new chunks. The words: [`crate::line`].

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use opslink::id::AttemptId;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

use super::{Phase, shared::Shared, slot::Events};
use crate::line::{self, FromAgent, FromRunner, LEGACY, OPENING};

/// A runner says its id with its first bytes.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// So long a cancel may remain unheard. A runner does nothing but listen, and a machine that is overloaded beyond that has
/// other worries.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// Enough for many words at once.
const READ_AHEAD: usize = 256;

/// Makes the socket; what an earlier agent left there goes.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves runners until the task is dropped, and their connections with it: they redial whoever comes next.
pub(super) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    // One short task per living runner; it ends with the connection.
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(conversations.spawn(converse(stream, Arc::clone(&shared)))),
                Err(error) => {
                    // Out of file descriptors, most likely: give others time to close some.
                    tracing::warn!(%error, "cannot accept a runner's connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
            Some(_) = conversations.join_next() => {}
        }
    }
}

async fn converse(mut stream: UnixStream, shared: Arc<Shared>) {
    let Ok(Ok(greeting)) = timeout(HELLO_WITHIN, greeting(&mut stream)).await else {
        return;
    };
    let id = greeting.id;
    if !shared.connected(id) {
        return;
    }
    // What it wrote while nobody heard it.
    shared.note(id, Phase::Running, greeting.next_seq);
    let (reader, writer) = stream.into_split();
    let reader = BufReader::with_capacity(READ_AHEAD, reader);
    match greeting.next_seq {
        Events::Counted(_) => tokio::select! {
            () = hear(id, reader, &shared) => {}
            () = tell(id, writer, &shared, say_framed) => {}
            () = end_if_stuck(id, &shared) => {}
        },
        Events::Uncounted => tokio::select! {
            () = hear_legacy(id, reader, &shared) => {}
            () = tell(id, writer, &shared, say_legacy) => {}
        },
    }
    shared.disconnected(id, greeting.next_seq == Events::Uncounted);
}

/// Who dials.
struct Greeting {
    id: AttemptId,
    /// Runners of 0.1.0 do not count for the agent.
    next_seq: Events,
}

async fn greeting(stream: &mut UnixStream) -> io::Result<Greeting> {
    let mut opening = [0; 4];
    stream.read_exact(&mut opening).await?;
    if opening == OPENING {
        loop {
            if let FromRunner::Hello { id, next_seq } = line::hear(stream).await? {
                return Ok(Greeting {
                    id,
                    next_seq: Events::Counted(next_seq),
                });
            }
        }
    }
    let mut id = [0; 16];
    let (begun, rest) = id.split_at_mut(opening.len());
    begun.copy_from_slice(&opening);
    stream.read_exact(rest).await?;
    Ok(Greeting {
        id: AttemptId::from_uuid(Uuid::from_bytes(id)),
        next_seq: Events::Uncounted,
    })
}

async fn hear(id: AttemptId, mut reader: impl AsyncRead + Unpin, shared: &Shared) {
    while let Ok(word) = line::hear(&mut reader).await {
        match word {
            // Said once.
            FromRunner::Hello { .. } => {}
            FromRunner::Heard => shared.heard_cancel(id),
            FromRunner::Written(next_seq) => shared.note(id, Phase::Running, Events::Counted(next_seq)),
            FromRunner::Ended(next_seq) => shared.note(id, Phase::Ended, Events::Counted(next_seq)),
        }
    }
}

async fn hear_legacy(id: AttemptId, mut reader: impl AsyncRead + Unpin, shared: &Shared) {
    let mut words = [0; READ_AHEAD];
    while let Ok(count @ 1..) = reader.read(&mut words).await {
        let ended = words.get(..count).is_some_and(|words| words.contains(&LEGACY.ended));
        let phase = if ended { Phase::Ended } else { Phase::Running };
        shared.note(id, phase, Events::Uncounted);
    }
}

/// Kills a runner that does not hear its cancel: a call in it blocks, or it was stopped. Its attempt is then closed like
/// that of any runner that was killed.
async fn end_if_stuck(id: AttemptId, shared: &Shared) {
    loop {
        let wake = shared.wake_runners.notified();
        if shared.orders(id).is_none_or(|(cancel, _)| cancel) {
            break;
        }
        wake.await;
    }
    tokio::time::sleep(HEARD_WITHIN).await;
    shared.kill_if_stuck(id);
    // The connection ends with the runner.
    std::future::pending().await
}

/// Tells a runner what it should know, each thing once.
async fn tell(
    id: AttemptId,
    mut writer: OwnedWriteHalf,
    shared: &Shared,
    say: impl AsyncFn(&mut OwnedWriteHalf, FromAgent) -> io::Result<()>,
) {
    let (mut canceled, mut acknowledged) = (false, 0);
    loop {
        // Registered before the look, so that no change falls between the two.
        let wake = shared.wake_runners.notified();
        let Some((cancel, next_seq)) = shared.orders(id) else {
            return;
        };
        if cancel && !canceled {
            if say(&mut writer, FromAgent::Cancel).await.is_err() {
                return;
            }
            canceled = true;
        }
        if next_seq > acknowledged {
            if say(&mut writer, FromAgent::Acknowledged(next_seq)).await.is_err() {
                return;
            }
            acknowledged = next_seq;
        }
        wake.await;
    }
}

async fn say_framed(writer: &mut OwnedWriteHalf, word: FromAgent) -> io::Result<()> {
    line::say(writer, word).await
}

async fn say_legacy(writer: &mut OwnedWriteHalf, word: FromAgent) -> io::Result<()> {
    let bytes = match word {
        FromAgent::Cancel => vec![LEGACY.cancel],
        FromAgent::Acknowledged(next_seq) => [&[LEGACY.acknowledged][..], &next_seq.to_le_bytes()].concat(),
    };
    writer.write_all(&bytes).await
}
