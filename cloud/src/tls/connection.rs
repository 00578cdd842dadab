//! One connection: its handshake, its HTTP settings, its age and its end.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use opslink::renewal::{ChannelBinding, EXPORTER_LABEL};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{StartHandshake, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    activity::{Activity, Answer, Call},
    greeting::greeted,
    known::{Kind, Known, Member, agent_of},
    limits::Limits,
    lobby::{Guest, Lobby, Stage},
    settings::{CALLS, UNSENT, UNSENT_OF_AGENT, builder},
    slots::Complete,
};
use crate::identity::{PeerInfo, SameOrigin, Standing, Strangers};

/// What all connections of a listener share.
pub(super) struct Door {
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    lobby: Arc<Lobby>,
    known: Arc<Known>,
    strangers: Arc<Strangers>,
    agents: Builder<TokioExecutor>,
    clients: Builder<TokioExecutor>,
    any: Builder<TokioExecutor>,
}

impl Door {
    pub(super) fn new(tls: Option<Arc<ServerConfig>>, router: Router, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            tls,
            router,
            limits,
            stop,
            lobby: Lobby::new(limits.places),
            known: Known::new(limits.known),
            strangers: Arc::default(),
            // Windows are credit, not memory; but a stranger may fill his, so only agents get large ones. With 4 MiB
            // one stream fills a link of 1 Gbit/s over 30 ms.
            agents: builder(&limits, 4 << 20, 16 << 20, 64, UNSENT_OF_AGENT).http2_only(),
            // A request has 2 MiB at most: over 100 ms it takes two seconds.
            clients: builder(&limits, 64 << 10, 128 << 10, CALLS, UNSENT).http2_only(),
            any: builder(&limits, 64 << 10, 128 << 10, CALLS, UNSENT),
        }
    }

    /// Lets a connection wait for its greeting.
    pub(super) fn enter(&self, addr: SocketAddr) -> Guest {
        let stage = if self.tls.is_some() {
            Stage::Silent
        } else {
            Stage::Stranger
        };
        self.lobby.enter(addr, stage)
    }

    /// Greets one connection and serves it to its end.
    pub(super) async fn connection<I>(self: Arc<Self>, io: I, addr: SocketAddr, mut guest: Guest)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(config) = &self.tls else {
            let peer = PeerInfo {
                addr,
                certificate: None,
                tls: false,
                channel: None,
            };
            return Box::pin(self.http(io, peer, &self.any, Some(guest))).await;
        };
        // Each on the heap while it lasts: what is silent costs no HTTP, and what stays for days no handshake.
        let shaken = Box::pin(self.shaken(io, addr, config, &mut guest)).await;
        let Some((stream, handshake)) = shaken else { return };
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
        // The verifier let the certificate pass: an agent of ours, and a living one.
        let guest = match &certificate {
            Some(_) => {
                handshake.into_known();
                None
            }
            None => {
                guest.is_stranger(handshake);
                Some(guest)
            }
        };
        let peer = PeerInfo {
            addr,
            certificate,
            tls: true,
            channel,
        };
        Box::pin(self.http(stream, peer, builder, guest)).await;
    }

    /// Waits for the greeting and shakes hands; `None` when that came to nothing.
    async fn shaken<I>(
        &self,
        io: I,
        addr: SocketAddr,
        config: &Arc<ServerConfig>,
        guest: &mut Guest,
    ) -> Option<(TlsStream<I>, Complete)>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let greeted = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            () = guest.sent_away() => return None,
            greeted = timeout(self.limits.handshake, self.greet(io, addr)) => greeted,
        };
        let Ok(Some(start)) = greeted else {
            if greeted.is_err() {
                tracing::debug!(peer = %addr, "no TLS greeting in time");
            }
            return None;
        };
        guest.advance(Stage::Greeting);
        let shaken = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            () = guest.sent_away() => return None,
            shaken = timeout(self.limits.handshake, self.shake(start, config, guest)) => shaken,
        };
        match shaken {
            Ok(Some(Ok(shaken))) => Some(shaken),
            Ok(Some(Err(error))) => {
                tracing::debug!(peer = %addr, %error, "TLS handshake failed");
                None
            }
            Ok(None) | Err(_) => {
                tracing::debug!(peer = %addr, "TLS handshake took too long");
                None
            }
        }
    }

    /// Waits for the client's greeting: until then a connection has no slot and no cryptography.
    async fn greet<I>(&self, io: I, addr: SocketAddr) -> Option<StartHandshake<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        match greeted(io).await {
            Ok(start) => Some(start),
            Err(error) => {
                tracing::debug!(peer = %addr, %error, "no TLS greeting");
                None
            }
        }
    }

    /// Finishes the handshake in a slot; `None` when others could not wait any longer.
    async fn shake<I>(
        &self,
        start: StartHandshake<I>,
        config: &Arc<ServerConfig>,
        guest: &Guest,
    ) -> Option<io::Result<(TlsStream<I>, Complete)>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let slot = guest.slot().await?;
        let began = Instant::now();
        let shaking = start.into_stream(Arc::clone(config));
        tokio::pin!(shaking);
        loop {
            let looked = tokio::select! {
                biased;
                looked = timeout(PATIENCE_LOOK, &mut shaking) => looked,
                () = slot.sent_away() => return None,
            };
            match looked {
                // One that failed gives its slot back as one that did not complete.
                Ok(shaken) => return Some(shaken.map(|stream| (stream, slot.complete()))),
                Err(_) if began.elapsed() >= guest.patience(self.limits.handshake) => return None,
                Err(_) => {}
            }
        }
    }

    async fn http<I>(&self, io: I, peer: PeerInfo, builder: &Builder<TokioExecutor>, mut guest: Option<Guest>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let addr = peer.addr;
        let router = self.router.clone();
        let standing = Arc::new(Standing::new(Arc::clone(&self.strangers)));
        let activity = Activity::new();
        if let Some(guest) = &guest {
            guest.is_served(&activity);
        }
        // The handshake has read it; one that names nobody is nobody's.
        let mut member = peer.certificate.as_ref().map(|certificate| {
            let agent = agent_of(certificate).unwrap_or_else(|| "agent:".into());
            standing.make_known(&agent);
            self.known.enter(Kind::Agent, agent, &activity)
        });
        let service = {
            let (standing, activity) = (Arc::clone(&standing), Arc::clone(&activity));
            hyper::service::service_fn(move |mut request: Request<Incoming>| {
                let call = activity.begin();
                request.extensions_mut().insert(Arc::clone(&standing));
                answer(router.clone(), request, peer.clone(), call)
            })
        };
        let connection = builder.serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);

        let mut ending = None;
        let old_at = Instant::now() + jittered(self.limits.max_age);
        loop {
            let idle_at = || self.idle_at(&activity, standing.is_known());
            // Looked at again at the latest then: nobody tells when the last call ends.
            let look_at = Instant::now() + self.idle(standing.is_known()).min(self.limits.untaken);
            let look_at = idle_at().map_or(look_at, |at| at.min(look_at));
            let next = ending.unwrap_or(old_at.min(look_at));
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %addr, %error, "connection ended with an error");
                    }
                    return;
                }
                () = self.stop.cancelled(), if ending.is_none_or(|at| at > Instant::now() + self.limits.drain) => {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now() + self.limits.drain);
                }
                // It is nobody's guest any more: it showed something, or it is sent away.
                () = leaving(guest.as_ref(), &standing), if guest.is_some() => {
                    if !standing.is_known() {
                        return;
                    }
                    if let Some(guest) = guest.take() {
                        guest.into_known();
                    }
                    let actor = standing.actor().unwrap_or_default();
                    member = Some(self.known.enter(Kind::Client, actor, &activity));
                }
                () = making_room(member.as_ref()), if member.is_some() => {
                    member = None;
                    connection.as_mut().graceful_shutdown();
                    let end = Instant::now() + self.limits.drain;
                    ending = Some(ending.map_or(end, |at| at.min(end)));
                }
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if ending.is_some() {
                        tracing::debug!(peer = %addr, "connection cut: it did not end in time");
                        return;
                    }
                    let is_idle = idle_at().is_some_and(|at| at <= now);
                    if now >= old_at || is_idle {
                        connection.as_mut().graceful_shutdown();
                        ending = Some(now + if is_idle { self.limits.drain } else { self.limits.age_grace });
                    }
                }
            }
        }
    }
}

impl Door {
    /// When a connection is to end if nothing happens on it meanwhile; `None` while something goes on.
    fn idle_at(&self, activity: &Activity, is_known: bool) -> Option<Instant> {
        match activity.quiet_since() {
            Some((since, false)) => Some(since + self.limits.handshake),
            Some((since, true)) => Some(since + self.idle(is_known)),
            None if is_known => activity.untaken().map(|since| since + self.limits.untaken),
            None => activity.oldest().map(|began| began + self.limits.stranger_call),
        }
    }

    fn idle(&self, is_known: bool) -> Duration {
        match is_known {
            true => self.limits.idle,
            false => self.limits.stranger_idle,
        }
    }
}

/// Between two looks at how many wait for the slot of a handshake.
const PATIENCE_LOOK: Duration = Duration::from_millis(250);

/// Waits until a stranger has shown something, or must go.
async fn leaving(guest: Option<&Guest>, standing: &Standing) {
    let Some(guest) = guest else { return };
    tokio::select! {
        biased;
        () = standing.known() => {}
        () = standing.tiresome() => {}
        () = guest.sent_away() => {}
    }
}

/// Waits until a known connection has to make room for another one.
async fn making_room(member: Option<&Member>) {
    let Some(member) = member else { return };
    member.sent_away().await;
}

/// Tells the handlers who is at the other end, then calls the router.
async fn answer(
    mut router: Router,
    mut request: Request<Incoming>,
    peer: PeerInfo,
    call: Call,
) -> Result<Response<Answer>, Infallible> {
    // Only browsers send cookies; only for them does the origin matter.
    if request.headers().contains_key(header::COOKIE) || request.headers().contains_key(header::ORIGIN) {
        let same = SameOrigin::of(request.headers(), request.uri(), peer.tls);
        request.extensions_mut().insert(same);
    }
    request.extensions_mut().insert(peer);
    let response = router.call(request).await?;
    Ok(Answer::new(response, call))
}

/// Spreads ends of connections that began together, such as after a restart.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}
