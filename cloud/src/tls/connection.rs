//! One connection: its handshake, its HTTP settings, its age and its end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use opslink::renewal::{ChannelBinding, EXPORTER_LABEL};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::identity::{PeerInfo, SameOrigin};

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest TLS handshake, and longest wait for the head of an HTTP/1 request.
    pub handshake: Duration,
    /// Handshakes at the same time.
    pub concurrent_handshakes: usize,
    /// Age at which a connection is asked to end, ± 10 %. Shorter than a certificate lives, so that no link outlives
    /// the certificate that opened it for long.
    pub max_age: Duration,
    /// Time between being asked to end by age and being cut.
    pub age_grace: Duration,
    /// Time between the stop of the server and being cut.
    pub drain: Duration,
}

impl Limits {
    /// Returns how long a connection can last at most.
    pub fn longest_life(&self) -> Duration {
        self.max_age.mul_f64(1.1) + self.age_grace
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            concurrent_handshakes: 1024,
            max_age: Duration::from_secs(11 * 3600),
            age_grace: Duration::from_secs(600),
            drain: Duration::from_secs(3),
        }
    }
}

/// What all connections of a listener share.
pub(super) struct Door {
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    agents: Builder<TokioExecutor>,
    clients: Builder<TokioExecutor>,
    any: Builder<TokioExecutor>,
}

impl Door {
    pub(super) fn new(tls: Option<Arc<ServerConfig>>, router: Router, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            tls: tls.map(TlsAcceptor::from),
            router,
            limits,
            stop,
            // Windows are credit, not memory; but a stranger may fill his, so only agents get large ones. With 4 MiB
            // one stream fills a link of 1 Gbit/s over 30 ms.
            agents: builder(&limits, 4 << 20, 16 << 20, 64).http2_only(),
            clients: builder(&limits, 1 << 20, 2 << 20, 256).http2_only(),
            any: builder(&limits, 1 << 20, 2 << 20, 256),
        }
    }

    /// Greets one connection and serves it to its end.
    pub(super) async fn connection<I>(self: Arc<Self>, io: I, addr: SocketAddr, slot: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(acceptor) = &self.tls else {
            drop(slot);
            let peer = PeerInfo {
                addr,
                certificate: None,
                tls: false,
                channel: None,
            };
            return self.http(io, peer, &self.any).await;
        };
        let accepted = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            accepted = timeout(self.limits.handshake, acceptor.accept(io)) => accepted,
        };
        drop(slot);
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = %addr, %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(peer = %addr, "TLS handshake took too long");
                return;
            }
        };
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| Bytes::copy_from_slice(leaf.as_ref()));
        let channel = match &certificate {
            Some(_) => None,
            None => session
                .export_keying_material([0; 32], EXPORTER_LABEL, None)
                .ok()
                .map(ChannelBinding),
        };
        let builder = match (session.alpn_protocol(), &certificate) {
            (Some(b"h2"), Some(_)) => &self.agents,
            (Some(b"h2"), None) => &self.clients,
            (Some(_) | None, _) => &self.any,
        };
        self.http(
            stream,
            PeerInfo {
                addr,
                certificate,
                tls: true,
                channel,
            },
            builder,
        )
        .await;
    }

    async fn http<I>(&self, io: I, peer: PeerInfo, builder: &Builder<TokioExecutor>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let addr = peer.addr;
        let router = self.router.clone();
        let service =
            hyper::service::service_fn(move |request: Request<Incoming>| call(router.clone(), request, peer.clone()));
        // On the heap, once: the task then is as small as its handshake.
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(io), service));

        let mut asked_to_end = false;
        let mut stopping = false;
        let mut deadline = Instant::now() + jittered(self.limits.max_age);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %addr, %error, "connection ended with an error");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    asked_to_end = true;
                    connection.as_mut().graceful_shutdown();
                    deadline = Instant::now() + self.limits.drain;
                }
                () = sleep_until(deadline) => {
                    if asked_to_end {
                        tracing::debug!(peer = %addr, "connection cut: it did not end in time");
                        return;
                    }
                    asked_to_end = true;
                    connection.as_mut().graceful_shutdown();
                    deadline = Instant::now() + self.limits.age_grace;
                }
            }
        }
    }
}

/// Tells the handlers who is at the other end, then calls the router.
async fn call(
    mut router: Router,
    mut request: Request<Incoming>,
    peer: PeerInfo,
) -> Result<Response<axum::body::Body>, Infallible> {
    // Only browsers send cookies; only for them does the origin matter.
    if request.headers().contains_key(header::COOKIE) || request.headers().contains_key(header::ORIGIN) {
        let same = SameOrigin::of(request.headers(), request.uri());
        request.extensions_mut().insert(same);
    }
    request.extensions_mut().insert(peer);
    router.call(request).await
}

fn builder(limits: &Limits, stream_window: u32, connection_window: u32, streams: u32) -> Builder<TokioExecutor> {
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
        .max_header_list_size(32 * 1024)
        .max_send_buf_size(512 * 1024)
        .max_pending_accept_reset_streams(32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Spreads ends of connections that began together, such as after a restart.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}
