//! Where a cloud is: `https://host:port`, or `http://` on this machine's loopback.

use std::net::IpAddr;

use http::Uri;

use crate::failure::Failure;

/// The port of a cloud when the URL names none.
const DEFAULT_PORT: u16 = 7443;

/// Address of a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    origin: Uri,
}

impl Endpoint {
    /// Reads `https://host[:port]`, `host[:port]`, or `http://127.0.0.1:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || Failure::usage("SERVER_URL_INVALID", &[("url", text)]);
        let trimmed = text.trim();
        let full = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            format!("https://{trimmed}")
        };
        let uri: Uri = full.parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(bad());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !tls && !is_loopback(&host) {
            return Err(Failure::usage("PLAIN_HTTP_REFUSED", &[("url", text)]));
        }
        // A port that is none, or a user in front of the host, must not silently become something else.
        let port = match uri.port_u16() {
            Some(port) => port,
            None if uri
                .authority()
                .is_some_and(|authority| Some(authority.as_str()) == uri.host()) =>
            {
                DEFAULT_PORT
            }
            None => return Err(bad()),
        };
        let bracketed = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let scheme = if tls { "https" } else { "http" };
        let origin = format!("{scheme}://{bracketed}:{port}").parse().map_err(|_| bad())?;
        Ok(Self {
            tls,
            host,
            port,
            origin,
        })
    }

    /// Says whether the cloud speaks TLS there.
    pub(crate) const fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the host: a name or an address, IPv6 without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns `scheme://host:port`.
    pub(crate) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// Returns `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.origin.authority().map(ToString::to_string).unwrap_or_default()
    }

    /// Returns the URL in its one spelling: what the configuration stores.
    pub(crate) fn url(&self) -> String {
        self.origin.to_string().trim_end_matches('/').to_owned()
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        Endpoint::parse(text)
            .map(|endpoint| endpoint.url())
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn urls_get_one_spelling() {
        assert_eq!(url("https://127.0.0.1:7443").unwrap(), "https://127.0.0.1:7443");
        assert_eq!(url("cloud.example.com").unwrap(), "https://cloud.example.com:7443");
        assert_eq!(
            url("https://cloud.example.com/").unwrap(),
            "https://cloud.example.com:7443"
        );
        assert_eq!(url("http://localhost:7480").unwrap(), "http://localhost:7480");
        assert_eq!(url("https://[::1]:1").unwrap(), "https://[::1]:1");
    }

    #[test]
    fn an_ipv6_host_has_no_brackets() {
        assert_eq!(Endpoint::parse("https://[::1]:1").unwrap().host(), "::1");
    }

    #[test]
    fn plain_http_leaves_this_machine_never() {
        assert_eq!(url("http://cloud.example.com:80").unwrap_err(), "PLAIN_HTTP_REFUSED");
        assert_eq!(url("http://10.0.0.1").unwrap_err(), "PLAIN_HTTP_REFUSED");
        assert!(url("http://127.0.0.2:80").is_ok());
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in [
            "",
            "ftp://x",
            "https://",
            "https://host/console",
            "https://host:99999",
            "a b",
        ] {
            assert_eq!(url(text).unwrap_err(), "SERVER_URL_INVALID", "{text}");
        }
    }
}
