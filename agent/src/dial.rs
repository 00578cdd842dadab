//! Reaching the cloud: TCP (or what a test puts in its place), an HTTP proxy if there is one, TLS, HTTP/2.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Uri;
use hyper_util::rt::TokioIo;
use opslink::renewal::{ChannelBinding, EXPORTER_LABEL};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// Longest time for TCP, proxy and TLS together. The cloud cuts unfinished handshakes after 10 s.
const DIAL_WITHIN: Duration = Duration::from_secs(15);

/// A byte stream to the cloud.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How a byte stream to the cloud is opened. Simulations put their own network here.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Opens a stream to `host:port`.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Io>>;
}

/// Plain TCP, or an HTTP CONNECT tunnel where the environment names a proxy (`HTTPS_PROXY`, `NO_PROXY`).
#[derive(Debug, Clone, Default)]
pub struct Tcp {
    proxy: Option<Uri>,
    no_proxy: Vec<String>,
}

impl Tcp {
    /// Reads the proxy settings of the environment.
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).ok();
        let proxy = var("HTTPS_PROXY")
            .filter(|text| !text.is_empty())
            .and_then(|text| text.parse().ok());
        let no_proxy = var("NO_PROXY").unwrap_or_default();
        let no_proxy = no_proxy
            .split(',')
            .map(|entry| entry.trim().trim_start_matches('.').to_owned());
        Self {
            proxy,
            no_proxy: no_proxy.filter(|entry| !entry.is_empty()).collect(),
        }
    }

    fn proxy_for(&self, host: &str) -> Option<(&str, u16)> {
        let proxy = self.proxy.as_ref()?;
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let excepted = self.no_proxy.iter().any(|entry| {
            entry == "*"
                || host == entry
                || host
                    .strip_suffix(entry.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        });
        if loopback || excepted {
            None
        } else {
            Some((proxy.host()?, proxy.port_u16().unwrap_or(3128)))
        }
    }
}

#[async_trait]
impl Connect for Tcp {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Io>> {
        let (to_host, to_port) = self.proxy_for(host).unwrap_or((host, port));
        let mut stream = TcpStream::connect((to_host, to_port)).await?;
        stream.set_nodelay(true)?;
        if (to_host, to_port) != (host, port) {
            tunnel(&mut stream, host, port).await?;
        }
        Ok(Box::new(stream))
    }
}

/// Asks an HTTP proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to TLS. A proxy's head is short.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= 8 * 1024 {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    let status_line =
        String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    match status_line.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("the proxy refused the tunnel: {status_line}"))),
    }
}

/// Why the cloud was not reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an `https://` URL.
    #[error("`{0}` is not a URL like https://host:7443")]
    Url(String),
    /// Name, route, port or proxy.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing within 15 s.
    #[error("{0} did not answer within 15 s")]
    Silent(String),
    /// TLS failed.
    #[error("no secure connection to {address}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// HTTP/2 failed.
    #[error("{address} does not speak HTTP/2")]
    Http2 {
        /// Where.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The key or certificate of this agent cannot be used.
    #[error("the agent's own certificate cannot be used")]
    Identity(#[source] rustls::Error),
}

impl Error {
    /// Says whether the other end was reached and the connection did not come to be all the same.
    pub fn is_of_tls(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Http2 { .. })
    }
}

/// Where the cloud is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `https://host[:port]`; the port is 7443 unless named.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn parse(url: &str) -> Result<Self, Error> {
        let bad = || Error::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let bare_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(host)) if bare_path => Ok(Self {
                host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
                port: uri.port_u16().unwrap_or(7443),
            }),
            _ => Err(bad()),
        }
    }

    /// As a URL.
    pub fn url(&self) -> String {
        if self.host.contains(':') {
            format!("https://[{}]:{}", self.host, self.port)
        } else {
            format!("https://{}:{}", self.host, self.port)
        }
    }
}

/// Opens an HTTP/2 channel over one new connection. When that connection ends, so does the channel.
///
/// # Errors
/// Where on the way it failed.
///
/// # Cancel
/// Dropping the future closes what was opened.
pub async fn dial(connect: &dyn Connect, address: &Address, tls: Arc<ClientConfig>) -> Result<Channel, Error> {
    let stream = secure(connect, address, tls).await?;
    http2(address, stream).await
}

/// As [`dial`], with what only the two ends of this connection know.
///
/// # Errors
/// As [`dial`].
pub async fn dial_bound(
    connect: &dyn Connect,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<(Channel, ChannelBinding), Error> {
    let stream = secure(connect, address, tls).await?;
    let (_, session) = stream.get_ref();
    let secret = session.export_keying_material([0; 32], EXPORTER_LABEL, None);
    let binding = ChannelBinding(secret.map_err(Error::Identity)?);
    Ok((http2(address, stream).await?, binding))
}

/// TCP or what stands in its place, and TLS.
async fn secure(
    connect: &dyn Connect,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<Box<dyn Io>>, Error> {
    let url = address.url();
    let server_name = ServerName::try_from(address.host.clone()).map_err(|_| Error::Url(url.clone()))?;
    let opening = async {
        let stream = connect
            .connect(&address.host, address.port)
            .await
            .map_err(|source| Error::Unreachable {
                address: url.clone(),
                source,
            })?;
        tokio_rustls::TlsConnector::from(tls)
            .connect(server_name, stream)
            .await
            .map_err(|source| Error::Tls {
                address: url.clone(),
                source,
            })
    };
    timeout(DIAL_WITHIN, opening)
        .await
        .map_err(|_| Error::Silent(url.clone()))?
}

async fn http2(address: &Address, stream: TlsStream<Box<dyn Io>>) -> Result<Channel, Error> {
    let url = address.url();
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|_| Error::Url(url.clone()))?
        // Frames towards the agent are small (a task is at most about 1 MiB); bulk flows the other way.
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .buffer_size(8);
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|source| Error::Http2 { address: url, source })
}

/// Looks through an error and its causes for what rustls said.
pub fn tls_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io::Error hides what it wraps from `source()`.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            if let Some(found) = inner.downcast_ref::<rustls::Error>() {
                return Some(found);
            }
            next = Some(inner);
            continue;
        }
        next = error.source();
    }
    None
}

/// Says whether the cloud cut the connection because this agent's certificate is revoked.
pub fn is_revoked(error: &(dyn StdError + 'static)) -> bool {
    was_alerted(error, AlertDescription::CertificateRevoked)
}

/// Says whether the cloud cut the connection because this agent's certificate is not valid at this time.
pub fn is_expired(error: &(dyn StdError + 'static)) -> bool {
    was_alerted(error, AlertDescription::CertificateExpired)
}

fn was_alerted(error: &(dyn StdError + 'static), alert: AlertDescription) -> bool {
    // h2 keeps an IO error's text only.
    chain_text(error).contains(&rustls::Error::AlertReceived(alert).to_string())
        || matches!(tls_cause(error), Some(rustls::Error::AlertReceived(found)) if *found == alert)
}

/// The causes of an error in one line, without repeats.
pub fn chain_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parsed = |url| Address::parse(url).map(|address| (address.host.clone(), address.port, address.url()));
        assert_eq!(
            parsed("https://c").unwrap(),
            ("c".into(), 7443, "https://c:7443".into())
        );
        assert_eq!(
            parsed("https://[::1]:9/").unwrap(),
            ("::1".into(), 9, "https://[::1]:9".into())
        );
        for bad in ["http://c", "c:7443", "https://", "https://c/path", ""] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_used_except_for_loopback_and_named_hosts() {
        let tcp = Tcp {
            proxy: Some("http://proxy:3129".parse().unwrap()),
            no_proxy: vec!["corp.example".into()],
        };
        assert_eq!(tcp.proxy_for("cloud.example"), Some(("proxy", 3129)));
        for direct in ["127.0.0.1", "localhost", "::1", "corp.example", "a.corp.example"] {
            assert_eq!(tcp.proxy_for(direct), None, "{direct}");
        }
        assert!(tcp.proxy_for("notcorp.example").is_some());
    }

    #[test]
    fn a_revocation_alert_is_found_under_other_errors() {
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRevoked);
        let wrapped = io::Error::other(io::Error::other(alert));
        assert!(is_revoked(&wrapped) && !is_expired(&wrapped));
        assert!(!is_revoked(&io::Error::other("else")));
    }

    #[test]
    fn the_end_of_a_certificate_is_found_in_the_text_that_h2_keeps() {
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        let told = io::Error::other(format!("connection error: {alert}"));
        assert!(is_expired(&told) && !is_revoked(&told));
    }
}
