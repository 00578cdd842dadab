//! The URL of a PostgreSQL connection, with the words that libpq knows. Nothing is asked of the machine but the name of
//! the agent's user.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use url::Url;

use super::super::{error::Error, session::CONNECT_TIMEOUT};
use crate::connections::Secret;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name or an address.
    Tcp(String),
    /// The folder of its socket.
    Folder(PathBuf),
}

/// How much TLS is asked for; as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    /// None.
    Disable,
    /// Only when the server wants it.
    Allow,
    /// When the server offers it.
    Prefer,
    /// Always; with a root certificate also checked.
    Require,
    /// Always, and the chain is checked.
    VerifyCa,
    /// Always, and the chain and the name are checked.
    VerifyFull,
}

/// What a connection's URL says.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    pub(super) ssl_mode: SslMode,
    pub(super) root_cert: Option<PathBuf>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    /// Sent at the start of the session, beside user and database.
    pub(super) parameters: Vec<(String, String)>,
}

impl Options {
    /// Reads a URL. Its text may hold a password and is never part of an error.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let url = Url::parse(url).map_err(|error| config(format!("its url cannot be read: {error}")))?;
        let mut options = Self {
            host: Host::Tcp("127.0.0.1".to_owned()),
            port: url.port().unwrap_or(5432),
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?.map(Secret::new),
            database: decode(url.path().trim_start_matches('/'))?,
            ssl_mode: SslMode::Prefer,
            root_cert: None,
            client_cert: None,
            client_key: None,
            connect_timeout: CONNECT_TIMEOUT,
            parameters: Vec::new(),
        };
        if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
            options.host = host_of(&decode(host)?);
        }
        for (name, value) in url.query_pairs() {
            options.set(&name, value.into_owned())?;
        }
        if options.user.is_empty() {
            options.user = own_user()?;
        }
        if options.database.is_empty() {
            options.database.clone_from(&options.user);
        }
        let named = |name: &str| options.parameters.iter().any(|(known, _)| known == name);
        let application = (!named("application_name")).then(|| ("application_name".to_owned(), "opslink".to_owned()));
        // The script is UTF-8, whatever the server thinks of its clients.
        let encoding = (!named("client_encoding")).then(|| ("client_encoding".to_owned(), "UTF8".to_owned()));
        options.parameters.extend(application);
        options.parameters.extend(encoding);
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Error> {
        match name {
            "host" | "hostaddr" => self.host = host_of(&value),
            "port" => {
                self.port = value
                    .parse()
                    .map_err(|_| config(format!("`{value}` is no port in its url")))?;
            }
            "user" => self.user = value,
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = value,
            "sslmode" | "ssl-mode" => self.ssl_mode = ssl_mode(&value)?,
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => self.root_cert = Some(value.into()),
            "sslcert" | "ssl-cert" => self.client_cert = Some(value.into()),
            "sslkey" | "ssl-key" => self.client_key = Some(value.into()),
            "connect_timeout" => {
                let secs: u64 = value
                    .parse()
                    .map_err(|_| config(format!("connect_timeout is `{value}`, not a number of seconds")))?;
                // libpq: 0 means no limit, and less than 2 s is taken for 2.
                if secs > 0 {
                    self.connect_timeout = Duration::from_secs(secs.max(2)).min(CONNECT_TIMEOUT);
                }
            }
            "application_name" | "client_encoding" | "options" => self.parameters.push((name.to_owned(), value)),
            // What libpq or earlier versions knew and what changes nothing here.
            "gssencmode" | "channel_binding" | "target_session_attrs" | "keepalives" | "statement-cache-capacity" => {}
            other => match other.strip_prefix("options[").and_then(|rest| rest.strip_suffix(']')) {
                Some(setting) => self.parameters.push((setting.to_owned(), value)),
                None => return Err(config(format!("its url has an option `{other}` that is not known"))),
            },
        }
        Ok(())
    }
}

fn ssl_mode(word: &str) -> Result<SslMode, Error> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        other => {
            let known = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(config(format!("sslmode is `{other}`; there are {known}")));
        }
    })
}

fn host_of(text: &str) -> Host {
    if text.starts_with('/') {
        Host::Folder(text.into())
    } else {
        // An IPv6 address stands in brackets in a URL.
        Host::Tcp(text.trim_start_matches('[').trim_end_matches(']').to_owned())
    }
}

fn decode(text: &str) -> Result<String, Error> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| config("a part of its url is not UTF-8 after decoding".to_owned()))
}

/// As libpq: who names no user logs in under the name of the system's.
fn own_user() -> Result<String, Error> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    user.map(|user| user.name)
        .ok_or_else(|| config("its url names no user".to_owned()))
}

fn config(detail: String) -> Error {
    Error::Config(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        let options = Options::parse("postgres://us%40er:p%2Fw@db.internal:6432/na%20me?sslmode=verify-full").unwrap();
        assert_eq!(options.host, Host::Tcp("db.internal".into()));
        assert_eq!((options.port, options.user.as_str()), (6432, "us@er"));
        assert_eq!(options.password.unwrap().expose(), "p/w");
        assert_eq!(
            (options.database.as_str(), options.ssl_mode),
            ("na me", SslMode::VerifyFull)
        );
        let socket = Options::parse("postgresql:///shop?host=/run/postgresql&user=ops").unwrap();
        assert_eq!(socket.host, Host::Folder("/run/postgresql".into()));
        let encoded = Options::parse("postgres://ops@%2Frun%2Fpg/").unwrap();
        assert_eq!(
            (encoded.host, encoded.database.as_str()),
            (Host::Folder("/run/pg".into()), "ops")
        );
        let v6 = Options::parse("postgres://ops@[::1]/x").unwrap();
        assert_eq!(v6.host, Host::Tcp("::1".into()));
    }

    #[test]
    fn only_user_database_name_and_encoding_are_sent() {
        let options = Options::parse("postgres://ops@h/x").unwrap();
        let names: Vec<&str> = options.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["application_name", "client_encoding"]);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for url in [
            "postgres://u:hunter2@h/x?sslmode=on",
            "postgres://u:hunter2@h/x?foo=1",
            "postgres://u:hunter2@h:99999/x",
        ] {
            let error = Options::parse(url).unwrap_err();
            assert!(
                matches!(error, Error::Config(_)) && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
    }
}
