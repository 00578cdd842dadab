//! The accept loop: it takes every connection at once, and survives every error. Who waits, waits in the lobby.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection::Door, limits::Limits, listener::Listener};

/// Longest pause after an error that says 'no resources'.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections and serves `router` on each until `stop`.
///
/// With `tls` every connection is encrypted; without, it is plain (and the caller bound it to loopback). Connections
/// are tracked in `connections`: close and await it to know that all have ended. After `stop`, each is asked to end
/// gracefully and cut after [`Limits::drain`].
pub async fn serve<L: Listener>(
    mut listener: L,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let door = Arc::new(Door::new(tls, router, limits, stop.clone()));
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((io, address)) => {
                pause = Duration::ZERO;
                // Owned by `connections`; ends with its peer, its age, or `stop`.
                let guest = door.enter(address);
                connections.spawn(Arc::clone(&door).connection(io, address, guest));
            }
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                // Out of file descriptors or memory: trying again at once would only burn the processor.
                pause = (pause * 2).clamp(Duration::from_millis(20), MAX_PAUSE);
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// Tells whether the error is about the one connection, so that the next may be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Interrupted
    )
}
