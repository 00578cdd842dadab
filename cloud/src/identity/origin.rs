//! Whether a browser's request comes from our own pages.

use http::{HeaderMap, Uri, header, uri::Authority};

/// Set in the extensions of requests that carry a cookie or an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SameOrigin(pub bool);

impl SameOrigin {
    /// Compares the `Origin` header with the host that was called, and its scheme with what came over TLS. No origin is
    /// not the same origin.
    ///
    /// A page of `http://` is no page of ours on the TLS port: whoever sits on the network can make one. The other way
    /// round is a proxy on this machine that ends TLS in front of the plain port.
    pub fn of(headers: &HeaderMap, uri: &Uri, tls: bool) -> Self {
        Self(is_same(headers, uri, tls).unwrap_or(false))
    }
}

fn is_same(headers: &HeaderMap, uri: &Uri, tls: bool) -> Option<bool> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin: Uri = origins.next()?.to_str().ok()?.parse().ok()?;
    if origins.next().is_some() {
        return Some(false);
    }
    // HTTP/2 has the host in its pseudo header, HTTP/1 in `Host`.
    let called: Authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => headers.get(header::HOST)?.to_str().ok()?.parse().ok()?,
    };
    let default_port = match origin.scheme_str()? {
        "https" => 443,
        "http" if !tls => 80,
        _ => return Some(false),
    };
    let from = origin.authority()?;
    Some(
        from.host().eq_ignore_ascii_case(called.host())
            && from.port_u16().unwrap_or(default_port) == called.port_u16().unwrap_or(default_port),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Option<&str>, host: Option<&str>, uri: &str) -> bool {
        called(origin, host, uri, false)
    }

    fn called(origin: Option<&str>, host: Option<&str>, uri: &str, tls: bool) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        SameOrigin::of(&headers, &uri.parse().unwrap(), tls).0
    }

    #[test]
    fn only_the_called_host_and_port_are_the_same_origin() {
        assert!(check(
            Some("https://ops.example:7443"),
            None,
            "https://ops.example:7443/x"
        ));
        assert!(check(Some("http://127.0.0.1:7480"), Some("127.0.0.1:7480"), "/x"));
        assert!(check(Some("https://ops.example"), Some("ops.example"), "/x"));
        assert!(check(Some("https://OPS.example"), Some("ops.example:443"), "/x"));

        assert!(!check(None, Some("ops.example"), "/x"));
        assert!(!check(Some("null"), Some("ops.example"), "/x"));
        assert!(!check(Some("https://ops.example"), None, "/x"));
        assert!(!check(Some("https://ops.example.evil"), Some("ops.example"), "/x"));
        assert!(!check(Some("https://ops.example:444"), Some("ops.example"), "/x"));
        assert!(!check(Some("https://evil"), Some("ops.example"), "/x"));
        assert!(!check(Some("ftp://ops.example"), Some("ops.example"), "/x"));
    }
    #[test]
    fn a_page_without_tls_is_none_of_ours_on_the_tls_port() {
        let uri = "https://ops.example:7443/x";
        assert!(called(Some("https://ops.example:7443"), None, uri, true));
        assert!(!called(Some("http://ops.example:7443"), None, uri, true));
        // Behind a proxy that ends TLS.
        assert!(called(
            Some("https://ops.example"),
            Some("ops.example:443"),
            "/x",
            false
        ));
    }
}
