//! What a request shows to prove who sent it. No look-ups here.

use http::{Extensions, HeaderMap};

use super::{PeerInfo, SameOrigin, secret};

/// Names of the session cookie: over TLS (a browser then insists on `Secure` and our exact host), and on the plain
/// listener.
pub const SESSION_COOKIES: [&str; 2] = ["__Host-opslink_session", "opslink_session"];

/// Header that only our own console sends; a foreign page cannot set it without asking us first.
pub const CONSOLE_HEADER: &str = "x-opslink-console";

/// Longest secret that is looked at.
const MAX_SECRET_BYTES: usize = 256;

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nothing.
    Absent,
    /// Something that no secret of ours looks like.
    Unknown,
    /// A cookie from a page that is not ours.
    ForeignPage {
        /// What the browser says that the page's origin is.
        origin: String,
    },
    /// A session's secret, hashed.
    Session([u8; 32]),
    /// An API token's secret, hashed.
    Token([u8; 32]),
}

impl Credential {
    pub(super) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        if let Some(header) = headers.get("authorization") {
            let Some((scheme, value)) = header.to_str().ok().and_then(|text| text.split_once(' ')) else {
                return Self::Unknown;
            };
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Self::Unknown;
            }
            return Self::of_secret(value.trim());
        }
        let Some(value) = cookie(headers, extensions) else {
            return Self::Absent;
        };
        if !is_console(headers, extensions) {
            let origin = headers
                .get("origin")
                .and_then(|origin| origin.to_str().ok())
                .unwrap_or("?");
            return Self::ForeignPage {
                origin: origin.to_owned(),
            };
        }
        match Self::of_secret(value) {
            // A token in a cookie was put there by hand; only sessions belong there.
            Self::Token(_) => Self::Unknown,
            other => other,
        }
    }

    /// The session of a cookie, whoever's page it comes from: only to know whose connection it is, never to let
    /// anybody in.
    pub(super) fn of_cookie(headers: &HeaderMap, extensions: &Extensions) -> Self {
        match cookie(headers, extensions).map(Self::of_secret) {
            Some(Self::Session(hash)) => Self::Session(hash),
            Some(Self::Absent | Self::Unknown | Self::ForeignPage { .. } | Self::Token(_)) => Self::Unknown,
            None => Self::Absent,
        }
    }

    fn of_secret(value: &str) -> Self {
        if value.len() > MAX_SECRET_BYTES {
            Self::Unknown
        } else if value.starts_with(secret::SESSION_PREFIX) {
            Self::Session(secret::hash(value))
        } else if value.starts_with(secret::TOKEN_PREFIX) {
            Self::Token(secret::hash(value))
        } else {
            Self::Unknown
        }
    }
}

/// Returns the value of our session cookie. Over TLS only the name that a browser insists on `Secure` for: a cookie of
/// the other name may have been planted by whoever answered a plain connection to the same host.
fn cookie<'h>(headers: &'h HeaderMap, extensions: &Extensions) -> Option<&'h str> {
    let pairs = || {
        headers
            .get_all("cookie")
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
    };
    let [secure_name, plain_name] = SESSION_COOKIES;
    let tls = extensions.get::<PeerInfo>().is_some_and(|peer| peer.tls);
    let name = if tls { secure_name } else { plain_name };
    pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Tells whether the request comes from our console: its header, and our own origin.
pub(super) fn is_console(headers: &HeaderMap, extensions: &Extensions) -> bool {
    headers.get(CONSOLE_HEADER).is_some_and(|value| value == "1")
        && extensions.get::<SameOrigin>() == Some(&SameOrigin(true))
}

/// Returns the address that the request comes from; empty when unknown, as in tests without a connection.
pub(super) fn peer(extensions: &Extensions) -> String {
    extensions
        .get::<PeerInfo>()
        .map(|peer| peer.addr.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (key, value) in pairs {
            map.append(*key, value.parse().unwrap());
        }
        map
    }

    fn ours() -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(SameOrigin(true));
        extensions
    }

    #[test]
    fn a_cookie_counts_only_with_the_console_header_on_our_own_origin() {
        let cookie = ("cookie", "a=b; opslink_session=ols_x; c=d");
        let console = (CONSOLE_HEADER, "1");
        let session = Credential::Session(secret::hash("ols_x"));
        assert_eq!(Credential::of(&headers(&[cookie, console]), &ours()), session);
        for (pairs, extensions) in [
            (vec![cookie], ours()),
            (vec![cookie, (CONSOLE_HEADER, "0")], ours()),
            (vec![cookie, console], Extensions::new()),
            (vec![cookie, console], {
                let mut foreign = Extensions::new();
                foreign.insert(SameOrigin(false));
                foreign
            }),
        ] {
            let credential = Credential::of(&headers(&pairs), &extensions);
            assert!(
                matches!(credential, Credential::ForeignPage { .. }),
                "{pairs:?} {credential:?}"
            );
        }
    }

    #[test]
    fn a_file_of_the_console_is_asked_for_with_the_cookie_alone() {
        let of = |cookie: &str| Credential::of_cookie(&headers(&[("cookie", cookie)]), &Extensions::new());
        let session = Credential::Session(secret::hash("ols_x"));
        assert_eq!(of("a=b; opslink_session=ols_x"), session);
        assert_eq!(of("opslink_session=olp_x"), Credential::Unknown);
        assert_eq!(of("a=b"), Credential::Absent);
    }

    #[test]
    fn over_tls_only_the_cookie_that_must_be_secure_counts() {
        let of = |tls: bool, cookie: &str| {
            let mut extensions = ours();
            extensions.insert(PeerInfo {
                addr: "10.0.0.1:1".parse().unwrap(),
                certificate: None,
                tls,
                channel: None,
            });
            Credential::of(&headers(&[("cookie", cookie), (CONSOLE_HEADER, "1")]), &extensions)
        };
        let session = Credential::Session(secret::hash("ols_x"));
        assert_eq!(of(true, "__Host-opslink_session=ols_x"), session);
        assert_eq!(of(true, "opslink_session=ols_x"), Credential::Absent);
        assert_eq!(of(false, "opslink_session=ols_x"), session);
    }

    #[test]
    fn a_bearer_secret_is_told_apart_by_its_prefix() {
        let none = Extensions::new();
        let of = |value: &str| Credential::of(&headers(&[("authorization", value)]), &none);
        assert_eq!(of("Bearer ols_x"), Credential::Session(secret::hash("ols_x")));
        assert_eq!(of("bearer olp_x"), Credential::Token(secret::hash("olp_x")));
        for value in ["Bearer x", "Basic b2xzX3g=", "Bearer", "", "ols_x"] {
            assert_eq!(of(value), Credential::Unknown, "{value}");
        }
        assert_eq!(
            of(&format!("Bearer olp_{}", "x".repeat(MAX_SECRET_BYTES))),
            Credential::Unknown
        );
        assert_eq!(Credential::of(&HeaderMap::new(), &none), Credential::Absent);
        assert_eq!(
            Credential::of(
                &headers(&[("cookie", "opslink_session=olp_x"), (CONSOLE_HEADER, "1")]),
                &ours()
            ),
            Credential::Unknown
        );
    }
}
