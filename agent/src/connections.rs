//! Named endpoints that this machine can reach: `connections.toml`. Their credentials never leave the machine.
//!
//! ```toml
//! [[connection]]
//! name = "main"
//! url = "postgres://app@db.internal/app"
//! password_file = "/etc/opslink-agent/main.password"
//! default = true
//! read_only = true                       # scripts may only read
//! session = ["SET search_path TO app"]   # run at the start of each session
//! ```

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use opslink::{pb, reason::Reason};
use serde::Deserialize;
use toml::Spanned;

use crate::{dial::chain_text, executor::Failure};

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "connections.toml";

/// What a fresh join writes.
pub const TEMPLATE: &str = "\
# Databases that tasks may use on this machine, by name. Credentials stay here.
#
# [[connection]]
# name = \"main\"
# url = \"postgres://app@127.0.0.1/app\"     # or mysql://…, or sqlite:///absolute/path.db
# password_file = \"/etc/opslink-agent/main.password\"   # optional; first line, read at each use
# default = true
# read_only = true                        # scripts may only read, whatever a task says
# session = [\"SET search_path TO app\"]  # run at the start of each session
";

/// A text that `Debug` hides.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What kind of database a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// A SQLite file.
    Sqlite,
}

impl Kind {
    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }

    fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once(':')?;
        match scheme {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::Mysql),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }
}

/// One named endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Unique in its file.
    pub name: String,
    /// Derived from the URL.
    pub kind: Kind,
    /// As written in the file; may hold a password.
    pub url: Secret,
    /// Whether tasks that name no connection get this one.
    pub is_default: bool,
    /// Whether scripts may only read, whatever the task says.
    pub is_read_only: bool,
    /// Statements that are run at the start of each session.
    pub session: Vec<String>,
    password_file: Option<PathBuf>,
}

impl Connection {
    /// Makes a connection out of its parts, for tests and embedders.
    ///
    /// # Errors
    /// [`Error::UnknownScheme`] when the URL is none of postgres, mysql and sqlite.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Result<Self, Error> {
        let (name, url) = (name.into(), url.into());
        let kind = Kind::of_url(&url).ok_or_else(|| Error::UnknownScheme { name: name.clone() })?;
        Ok(Self {
            name,
            kind,
            url: Secret::new(url),
            is_default: false,
            is_read_only: false,
            session: Vec::new(),
            password_file: None,
        })
    }

    /// Reads the password file, if the connection names one: its first line.
    ///
    /// # Errors
    /// `CONNECTIONS_INVALID` when the file cannot be read.
    pub fn password(&self) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).map_err(|error| Failure {
            reason: Reason::ConnectionsInvalid.code(),
            message: format!(
                "the password file {} of connection `{}` cannot be read: {error}",
                path.display(),
                self.name
            ),
        })?;
        Ok(Some(Secret::new(text.lines().next().unwrap_or_default())))
    }
}

/// Why `connections.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be. The parser's text is kept without the line it quotes: it may hold a password.
    #[error("{path} is not a connections file: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// One connection of the file is not what it should be.
    #[error("{path}, line {line}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The line that is wrong, the first is 1.
        line: usize,
        /// What is wrong.
        source: Box<Error>,
    },
    /// The URL says another kind of database.
    #[error("connection `{name}`: its url must start with postgres://, mysql:// or sqlite://")]
    UnknownScheme {
        /// The connection.
        name: String,
    },
    /// Two connections have one name.
    #[error("connection `{name}` is there twice")]
    Duplicate {
        /// The connection.
        name: String,
    },
    /// Two connections say that they are the default.
    #[error("connections `{first}` and `{second}` both say default = true")]
    TwoDefaults {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    connection: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    url: Spanned<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    session: Vec<String>,
}

/// The named endpoints of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connections {
    list: Vec<Connection>,
    /// Why there are none, when the file is there and cannot be used.
    broken: Option<String>,
}

impl Connections {
    /// Builds the set out of its parts; a single connection becomes the default.
    ///
    /// # Errors
    /// When a name is there twice, or two are the default.
    pub fn new(mut list: Vec<Connection>) -> Result<Self, Error> {
        for (at, connection) in list.iter().enumerate() {
            if list.iter().skip(at + 1).any(|other| other.name == connection.name) {
                return Err(Error::Duplicate {
                    name: connection.name.clone(),
                });
            }
        }
        let mut defaults = list.iter().filter(|connection| connection.is_default);
        if let (Some(first), Some(second)) = (defaults.next(), defaults.next()) {
            return Err(Error::TwoDefaults {
                first: first.name.clone(),
                second: second.name.clone(),
            });
        }
        if let [only] = list.as_mut_slice() {
            only.is_default = true;
        }
        Ok(Self { list, broken: None })
    }

    /// None, because the file cannot be used: whoever asks for one is told so.
    pub fn broken(error: &Error) -> Self {
        Self {
            list: Vec::new(),
            broken: Some(chain_text(error)),
        }
    }

    /// Reads `connections.toml`; a missing file means none.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(Error::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Self::parse(&text, path)
    }

    /// Reads the text of a connections file; `path` is for messages.
    ///
    /// # Errors
    /// When the text cannot be used.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let line_at = |start: usize| text.get(..start).unwrap_or(text).matches('\n').count() + 1;
        let entry_error = |line: usize, source: Error| Error::Entry {
            path: path.to_owned(),
            line,
            source: Box::new(source),
        };
        let file: File = toml::from_str(text).map_err(|error| Error::Syntax {
            path: path.to_owned(),
            message: match error.span() {
                Some(span) => format!("line {}: {}", line_at(span.start), error.message()),
                None => error.message().to_owned(),
            },
        })?;
        let mut list = Vec::with_capacity(file.connection.len());
        let mut lines = Vec::with_capacity(file.connection.len());
        for entry in file.connection {
            let url_line = line_at(entry.url.span().start);
            lines.push((entry.name.get_ref().clone(), line_at(entry.name.span().start)));
            let mut connection = Connection::new(entry.name.into_inner(), entry.url.into_inner())
                .map_err(|error| entry_error(url_line, error))?;
            connection.is_default = entry.default;
            connection.is_read_only = entry.read_only;
            connection.session = entry.session;
            connection.password_file = entry.password_file;
            list.push(connection);
        }
        Self::new(list).map_err(|error| {
            let wrong = match &error {
                Error::Duplicate { name } | Error::TwoDefaults { second: name, .. } => Some(name),
                Error::Read { .. } | Error::Syntax { .. } | Error::Entry { .. } | Error::UnknownScheme { .. } => None,
            };
            // The last of that name: whoever reads it has seen the first.
            let place = lines.iter().rev().find(|(name, _)| Some(name) == wrong);
            match place.map(|(_, line)| *line) {
                Some(line) => entry_error(line, error),
                None => error,
            }
        })
    }

    /// Returns the connection of that name, or the default one.
    ///
    /// # Errors
    /// `CONNECTION_UNKNOWN`, `CONNECTION_AMBIGUOUS` or `CONNECTION_MISSING`, with the names that there are;
    /// `CONNECTIONS_INVALID` when the file cannot be used.
    pub fn find(&self, name: Option<&str>) -> Result<&Connection, Failure> {
        if let Some(detail) = &self.broken {
            let message = format!("the connections of this agent cannot be used: {detail}. Correct {FILE_NAME} there");
            return Err(Failure::new(Reason::ConnectionsInvalid.code(), message));
        }
        let found = match name {
            Some(name) => self.list.iter().find(|connection| connection.name == name),
            None => self.list.iter().find(|connection| connection.is_default),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.list.iter().map(|connection| connection.name.as_str()).collect();
            let known = names.join(", ");
            let (reason, message) = match name {
                _ if names.is_empty() => (
                    Reason::ConnectionMissing.code(),
                    format!("this agent has no connection; add one to its {FILE_NAME}"),
                ),
                Some(name) => (
                    Reason::ConnectionUnknown.code(),
                    format!("this agent has no connection named `{name}`; it has: {known}"),
                ),
                None => {
                    let message = format!("this agent has several connections and no default; name one of: {known}");
                    (Reason::ConnectionAmbiguous.code(), message)
                }
            };
            Failure { reason, message }
        })
    }

    /// Iterates in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.list.iter()
    }

    /// What the cloud may know: names and kinds, no URL.
    pub fn to_pb(&self) -> Vec<pb::Connection> {
        self.iter()
            .map(|connection| pb::Connection {
                name: connection.name.clone(),
                kind: connection.kind.word().to_owned(),
                is_default: connection.is_default,
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
