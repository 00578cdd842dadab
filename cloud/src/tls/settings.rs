//! HTTP settings of connections: what the other end may have us keep for it.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};

use super::limits::Limits;
use crate::identity::STREAMS_OF_ONE;

/// Calls at the same time over one connection of a client. More than one caller may have streams: the refusal of one more
/// then comes instead of silence.
pub(super) const CALLS: u32 = 100;
const _: () = assert!(CALLS as usize > STREAMS_OF_ONE);

/// Headers of one call. A token has some sixty bytes and a browser sends 2 KiB; no flow control holds them back, so it is
/// what a stranger can have us keep for each of its streams.
const HEADERS_MAX: u32 = 8 << 10;

/// What is unsent of a stream when it passes on more. Answers are cut with it in mind (`server/answer.rs`, `server/going.rs`):
/// nobody counts what is unsent of one that has passed on its end.
pub(super) const UNSENT: usize = 1 << 10;
/// The same for an agent: a link has no end that would hide anything, and what is sent over it is bounded elsewhere.
pub(super) const UNSENT_OF_AGENT: usize = 128 << 10;

/// The settings of one kind of connections.
pub(super) fn builder(
    limits: &Limits,
    stream_window: u32,
    connection_window: u32,
    streams: u32,
    unsent: usize,
) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_buf_size(64 * 1024)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_concurrent_streams(streams)
        .max_frame_size(64 * 1024)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buf_size(unsent)
        .max_pending_accept_reset_streams(32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
