//! Name → TCP → TLS, each with its own error, because each has its own remedy.

use std::{fmt, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    connect::{
        endpoint::Endpoint,
        tls::{self, Pin},
    },
    exit::Exit,
    failure::Failure,
};

/// Longest wait for each of: name resolution, TCP, TLS.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Anything that HTTP/2 can run on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("cannot resolve {host}: {detail}")]
    Name { host: String, detail: String },
    /// Nobody answers at the address.
    #[error("cannot connect to {address}: {detail}")]
    Tcp { address: String, detail: String },
    /// Something answers, but not TLS 1.2 or 1.3.
    #[error("TLS with {address} failed: {detail}")]
    Tls { address: String, detail: String },
    /// The chain has another CA than the pinned one.
    #[error("the CA of {address} is {found}, not {pinned}")]
    WrongCa {
        address: String,
        found: String,
        pinned: String,
    },
    /// No CA is pinned for this cloud.
    #[error("no CA is pinned for {address}")]
    NotPinned { address: String },
}

impl DialError {
    /// Tells a person what to do about it.
    pub(crate) fn to_failure(&self) -> Failure {
        let unreachable = |reason, args: &[(&'static str, &str)]| Failure::local(Exit::Unreachable, reason, args);
        match self {
            Self::Name { host, detail } => unreachable("NAME_NOT_RESOLVED", &[("host", host), ("detail", detail)]),
            Self::Tcp { address, detail } => unreachable("SERVER_UNREACHABLE", &[("url", address), ("detail", detail)]),
            Self::Tls { address, detail } => unreachable("TLS_FAILED", &[("url", address), ("detail", detail)]),
            Self::WrongCa { address, found, pinned } => unreachable(
                "CA_CHANGED",
                &[("url", address), ("found", found), ("expected", pinned)],
            ),
            Self::NotPinned { address } => unreachable("CA_NOT_PINNED", &[("url", address)]),
        }
    }
}

/// Makes connections to one cloud.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    pin: Option<Pin>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("endpoint", &self.endpoint.url())
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Makes a dialer. Without a pin only plain loopback works.
    pub(crate) const fn new(endpoint: Endpoint, pin: Option<Pin>) -> Self {
        Self { endpoint, pin }
    }

    /// Returns where it dials.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Resolves the name.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        resolve(&self.endpoint).await
    }

    /// Opens the TCP connection.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, DialError> {
        tcp(&self.endpoint).await
    }

    /// Opens a connection that HTTP/2 can start on.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let tcp = self.tcp().await?;
        if !self.endpoint.tls() {
            return Ok(Box::new(tcp));
        }
        let address = self.endpoint.authority();
        let Some(pin) = &self.pin else {
            return Err(DialError::NotPinned { address });
        };
        let config = tls::pinned_config(pin).map_err(|detail| DialError::Tls {
            address: address.clone(),
            detail,
        })?;
        let name = tls::server_name(self.endpoint.host()).map_err(|detail| DialError::Tls {
            address: address.clone(),
            detail,
        })?;
        match timeout(STEP_TIMEOUT, TlsConnector::from(config).connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(tls_error(address, pin, &error)),
            Err(_) => Err(DialError::Tls {
                address,
                detail: waited(),
            }),
        }
    }
}

/// Turns rustls' error into ours; a pin that did not match is a case of its own.
fn tls_error(address: String, pin: &Pin, error: &io::Error) -> DialError {
    match tls::wrong_ca(error) {
        Some(found) => DialError::WrongCa {
            address,
            found,
            pinned: pin.to_string(),
        },
        None => DialError::Tls {
            address,
            detail: error.to_string(),
        },
    }
}

/// Opens the TCP connection to an endpoint.
pub(crate) async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, DialError> {
    let addresses = resolve(endpoint).await?;
    let address = endpoint.authority();
    let stream = timeout(STEP_TIMEOUT, TcpStream::connect(addresses.as_slice()))
        .await
        .map_err(|_| DialError::Tcp {
            address: address.clone(),
            detail: waited(),
        })?
        .map_err(|error| DialError::Tcp {
            address: address.clone(),
            detail: error.to_string(),
        })?;
    // Small frames must leave at once; a socket that refuses the option is only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, DialError> {
    let host = endpoint.host();
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, endpoint.port())]);
    }
    let failed = |detail: String| DialError::Name {
        host: host.to_owned(),
        detail,
    };
    let found = timeout(STEP_TIMEOUT, tokio::net::lookup_host((host, endpoint.port())))
        .await
        .map_err(|_| failed(waited()))?
        .map_err(|error| failed(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        Err(failed("it has no address".to_owned()))
    } else {
        Ok(addresses)
    }
}

fn waited() -> String {
    format!("no answer within {} s", STEP_TIMEOUT.as_secs())
}
