//! The URL of a MySQL or MariaDB connection, with the words of their clients.

use std::path::PathBuf;

use mysql_async::{ClientIdentity, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use url::Url;

use super::super::{error::Error, table::ROW_MAX};

/// Largest packet: a row and what is around it.
const PACKET_MAX: usize = ROW_MAX + 1024 * 1024;
/// The driver's own idea of how long a connection may idle; the server's stays what it is. Given so that the driver need
/// not ask.
const WAIT_TIMEOUT_SECS: usize = 28_800;

/// What a URL says.
pub(super) struct Parsed {
    pub(super) builder: OptsBuilder,
    /// A server without TLS will do.
    pub(super) tls_is_optional: bool,
}

#[derive(Default)]
struct Tls {
    mode: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Reads a URL. Its text may hold a password and is never part of an error.
pub(super) fn parse(url: &str) -> Result<Parsed, Error> {
    let url = Url::parse(url).map_err(|error| config(format!("its url cannot be read: {error}")))?;
    let mut builder = OptsBuilder::default()
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET_MAX))
        .wait_timeout(Some(WAIT_TIMEOUT_SECS))
        .tcp_nodelay(true)
        .tcp_port(url.port().unwrap_or(3306));
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
    let host = decode(host)?;
    builder = builder.ip_or_hostname(host.trim_start_matches('[').trim_end_matches(']'));
    if !url.username().is_empty() {
        builder = builder.user(Some(decode(url.username())?));
    }
    if let Some(password) = url.password() {
        builder = builder.pass(Some(decode(password)?));
    }
    let database = decode(url.path().trim_start_matches('/'))?;
    if !database.is_empty() {
        builder = builder.db_name(Some(database));
    }
    let mut tls = Tls::default();
    for (name, value) in url.query_pairs() {
        let value = value.into_owned();
        match name.as_ref() {
            "ssl-mode" | "sslmode" => tls.mode = Some(value.to_ascii_uppercase()),
            "ssl-ca" | "sslrootcert" => tls.ca = Some(value.into()),
            "ssl-cert" | "sslcert" => tls.cert = Some(value.into()),
            "ssl-key" | "sslkey" => tls.key = Some(value.into()),
            "socket" => builder = builder.socket(Some(value)),
            "user" => builder = builder.user(Some(value)),
            "password" => builder = builder.pass(Some(value)),
            // The script is UTF-8; what earlier versions knew and what changes nothing here.
            "charset" | "collation" | "timezone" | "statement-cache-capacity" => {}
            other => return Err(config(format!("its url has an option `{other}` that is not known"))),
        }
    }
    let (ssl, tls_is_optional) = ssl(tls)?;
    Ok(Parsed {
        builder: builder.ssl_opts(ssl),
        tls_is_optional,
    })
}

fn ssl(tls: Tls) -> Result<(Option<SslOpts>, bool), Error> {
    let mut ssl = SslOpts::default();
    if let Some(ca) = &tls.ca {
        ssl = ssl
            .with_root_certs(vec![ca.clone().into()])
            .with_disable_built_in_roots(true);
    }
    match (tls.cert, tls.key) {
        (Some(cert), Some(key)) => ssl = ssl.with_client_identity(Some(ClientIdentity::new(cert.into(), key.into()))),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            return Err(config("its url needs both of ssl-cert and ssl-key".to_owned()));
        }
    }
    let unchecked = |ssl: SslOpts| {
        ssl.with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true)
    };
    let default = if tls.ca.is_some() { "VERIFY_CA" } else { "PREFERRED" };
    Ok(match tls.mode.as_deref().unwrap_or(default) {
        "DISABLED" | "DISABLE" => (None, false),
        "PREFERRED" | "PREFER" => (Some(unchecked(ssl)), true),
        "REQUIRED" | "REQUIRE" => (Some(unchecked(ssl)), false),
        "VERIFY_CA" | "VERIFY-CA" => (Some(ssl.with_danger_skip_domain_validation(true)), false),
        "VERIFY_IDENTITY" | "VERIFY-FULL" => (Some(ssl), false),
        other => {
            let known = "DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY";
            return Err(config(format!("ssl-mode is `{other}`; there are {known}")));
        }
    })
}

fn decode(text: &str) -> Result<String, Error> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| config("a part of its url is not UTF-8 after decoding".to_owned()))
}

fn config(detail: String) -> Error {
    Error::Config(detail)
}

#[cfg(test)]
mod tests {
    use mysql_async::Opts;

    use super::*;

    #[test]
    fn urls_are_read_as_the_clients_read_them() {
        let parsed = parse("mariadb://us%40er:p%2Fw@db.internal:3307/na%20me?ssl-mode=VERIFY_IDENTITY").unwrap();
        let options = Opts::from(parsed.builder);
        assert_eq!((options.ip_or_hostname(), options.tcp_port()), ("db.internal", 3307));
        assert_eq!(
            (options.user(), options.pass(), options.db_name()),
            (Some("us@er"), Some("p/w"), Some("na me"))
        );
        let ssl = options.ssl_opts().unwrap();
        assert!(!parsed.tls_is_optional && !ssl.accept_invalid_certs() && !ssl.skip_domain_validation());
        assert!(!options.client_found_rows(), "the client's own flags");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for url in [
            "mysql://u:hunter2@h/x?ssl-mode=on",
            "mysql://u:hunter2@h/x?foo=1",
            "mysql://u:hunter2@h:99999/x",
        ] {
            let error = parse(url).map(drop).unwrap_err();
            assert!(
                matches!(error, Error::Config(_)) && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
    }
}
