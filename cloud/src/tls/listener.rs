//! Where connections come from: TCP, or whatever a simulation has.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// A source of connections.
pub trait Listener: Send + 'static {
    /// One connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Whatever the system says; the loop goes on after every error.
    ///
    /// # Cancel
    /// Safe: no connection is lost.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

/// A TCP listener with our socket options.
#[derive(Debug)]
pub struct TcpAcceptor {
    listener: TcpListener,
}

/// Connections that wait to be accepted: 10,000 agents may redial after a restart, spread over a minute.
const BACKLOG: u32 = 4096;

impl TcpAcceptor {
    /// Listens on this address; port 0 takes a free one.
    ///
    /// # Errors
    /// As the system says: in use, not ours, not allowed.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restarted cloud must not wait for the connections of the one before it.
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit it.
        socket.set_keepalive(true)?;
        socket.bind(address)?;
        Ok(Self {
            listener: socket.listen(BACKLOG)?,
        })
    }

    /// Returns the address with its real port.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Listener for TcpAcceptor {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.listener.accept().await?;
        // Small frames (a cancel, an ack) must not wait for larger ones.
        stream.set_nodelay(true)?;
        Ok((stream, address))
    }
}
