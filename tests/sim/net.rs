//! The simulated network as both ends see it, with counters that prove what a fault did.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use opslink_agent::dial::{Connect, Io};
use opslink_cloud::tls::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Where the cloud is.
pub(crate) const CLOUD: &str = "cloud";
/// Its port.
pub(crate) const PORT: u16 = 7443;

/// Bytes between one agent and the cloud, counted at each of the four ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Written by the agent.
    pub(crate) up_sent: u64,
    /// Read by the cloud.
    pub(crate) up_received: u64,
    /// Written by the cloud.
    pub(crate) down_sent: u64,
    /// Read by the agent.
    pub(crate) down_received: u64,
}

/// All counters, by host name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<Mutex<BTreeMap<String, Counts>>>);

impl Meter {
    /// Reads the counters of a host.
    pub(crate) fn of(&self, host: &str) -> Counts {
        self.0.lock().unwrap().get(host).copied().unwrap_or_default()
    }

    fn count(&self, host: &str, change: impl FnOnce(&mut Counts)) {
        change(self.0.lock().unwrap().entry(host.to_owned()).or_default());
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Agent,
    Cloud,
}

/// A stream that counts.
pub(crate) struct Counted {
    io: TcpStream,
    host: String,
    end: End,
    meter: Meter,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(ctx, buffer);
        let bytes = (buffer.filled().len() - before) as u64;
        self.meter.count(&self.host, |counts| match self.end {
            End::Agent => counts.down_received += bytes,
            End::Cloud => counts.up_received += bytes,
        });
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(ctx, data);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.meter.count(&self.host, |counts| match self.end {
                End::Agent => counts.up_sent += bytes as u64,
                End::Cloud => counts.down_sent += bytes as u64,
            });
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(ctx)
    }
}

/// How an agent (or a client) reaches the cloud.
pub(crate) struct Dialer {
    /// Name of the dialing host.
    pub(crate) host: String,
    /// Where it is counted.
    pub(crate) meter: Meter,
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Io>> {
        let io = TcpStream::connect((host, port)).await?;
        Ok(Box::new(Counted {
            io,
            host: self.host.clone(),
            end: End::Agent,
            meter: self.meter.clone(),
        }))
    }
}

/// Where the cloud accepts.
pub(crate) struct Door {
    listener: TcpListener,
    meter: Meter,
}

impl Door {
    /// Listens on the cloud's port.
    pub(crate) async fn open(meter: Meter) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(("0.0.0.0", PORT)).await?,
            meter,
        })
    }
}

impl Listener for Door {
    type Io = Counted;

    async fn accept(&mut self) -> io::Result<(Counted, SocketAddr)> {
        let (io, peer) = self.listener.accept().await?;
        let host = turmoil::reverse_lookup(peer.ip()).unwrap_or_default();
        Ok((
            Counted {
                io,
                host,
                end: End::Cloud,
                meter: self.meter.clone(),
            },
            peer,
        ))
    }
}
