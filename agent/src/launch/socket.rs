//! The agent's end of `agent.sock`: runners dial it, say who they are, and tell of new chunks.
//!
//! ```text
//! runner → agent   16 bytes attempt id, then  C new chunk in the file · E ended
//! agent → runner   K cancel · A + u64 LE: the cloud has everything below this seq
//! ```

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use opslink::id::AttemptId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

use super::{Phase, process::Shared};

/// A runner says its id with its first bytes.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

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
    let mut id = [0; 16];
    if !matches!(timeout(HELLO_WITHIN, stream.read_exact(&mut id)).await, Ok(Ok(_))) {
        return;
    }
    let id = AttemptId::from_uuid(Uuid::from_bytes(id));
    if !shared.connected(id) {
        return;
    }
    let (reader, writer) = stream.into_split();
    tokio::select! {
        () = hear(id, reader, &shared) => {}
        () = tell(id, writer, &shared) => {}
    }
    shared.disconnected(id);
}

async fn hear(id: AttemptId, mut reader: OwnedReadHalf, shared: &Shared) {
    let mut words = [0; 256];
    while let Ok(count @ 1..) = reader.read(&mut words).await {
        let ended = words.get(..count).is_some_and(|words| words.contains(&b'E'));
        shared.note(id, if ended { Phase::Ended } else { Phase::Running });
    }
}

async fn tell(id: AttemptId, mut writer: OwnedWriteHalf, shared: &Shared) {
    let (mut canceled, mut acknowledged) = (false, 0);
    loop {
        // Registered before the look, so that no change falls between the two.
        let wake = shared.wake_runners.notified();
        let Some((cancel, next_seq)) = shared.orders(id) else {
            return;
        };
        if cancel && !canceled {
            if writer.write_all(b"K").await.is_err() {
                return;
            }
            canceled = true;
        }
        if next_seq > acknowledged {
            let mut word = [b'A'; 9];
            if let Some(number) = word.last_chunk_mut::<8>() {
                *number = next_seq.to_le_bytes();
            }
            if writer.write_all(&word).await.is_err() {
                return;
            }
            acknowledged = next_seq;
        }
        wake.await;
    }
}
