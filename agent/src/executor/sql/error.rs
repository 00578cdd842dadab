//! What went wrong, in one form for every database: connection errors as failures, statement errors with their place
//! in the script.

use std::io;

use opslink::{event::StatementError, locale::Language, problem::Problem, reason::Reason};

use super::split::place;
use crate::executor::Failure;

/// Where in a statement an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// Byte offset from its start.
    Byte(usize),
    /// 1-based line in it; the column is unknown.
    Line(u32),
}

/// What a database said about a statement or a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The message.
    pub(super) message: String,
    /// SQLSTATE, or the engine's own code.
    pub(super) code: String,
    /// Further detail.
    pub(super) detail: String,
    /// Hint.
    pub(super) hint: String,
    /// Where in the statement; `None` when it does not tell.
    pub(super) offset: Option<Offset>,
}

/// Why a statement or a connection failed. Says whether the connection can still be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database said no; the connection goes on.
    #[error("{}", .0.message)]
    Said(Box<Said>),
    /// The connection is gone, with what the database said last, if it said something.
    #[error("{}", .0.message)]
    Lost(Box<Said>),
    /// The network, or the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No secure connection.
    #[error("{0}")]
    Tls(String),
    /// The connection's url or its files.
    #[error("{0}")]
    Config(String),
    /// The other side does not speak as a database does.
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    /// The database's no, without details.
    pub(super) fn said(code: &str, message: impl Into<String>) -> Self {
        Self::Said(Box::new(Said {
            message: message.into(),
            code: code.to_owned(),
            ..Said::default()
        }))
    }

    /// Whether nothing more can be sent on this connection.
    pub(super) const fn ends_connection(&self) -> bool {
        match self {
            Self::Said(_) => false,
            Self::Lost(_) | Self::Io(_) | Self::Tls(_) | Self::Config(_) | Self::Protocol(_) => true,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Said(said) | Self::Lost(said) => &said.code,
            Self::Io(_) | Self::Tls(_) | Self::Config(_) | Self::Protocol(_) => "",
        }
    }
}

/// Turns a problem into what the runner reports: what, why and what to do, in one line.
pub(super) fn failure(problem: Problem) -> Failure {
    let lines = [
        problem.what(Language::En),
        problem.why(Language::En),
        problem.fix(Language::En),
    ];
    let sentences: Vec<String> = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| sentence(line))
        .collect();
    Failure {
        reason: problem.reason.code(),
        message: sentences.join(" "),
    }
}

/// What databases and parsers say has no full stop; between two sentences it needs one.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', ':']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// Says why a connection could not be opened.
pub(super) fn connect(connection: &str, error: &Error) -> Failure {
    let reason = match error {
        Error::Tls(_) => Reason::DatabaseTls,
        Error::Said(_) | Error::Lost(_) if is_refused_login(error.code()) => Reason::DatabaseAuth,
        Error::Config(detail) => return invalid(connection, detail),
        Error::Said(_) | Error::Lost(_) | Error::Io(_) | Error::Protocol(_) => Reason::DatabaseDown,
    };
    failure(
        Problem::new(reason)
            .with("connection", connection)
            .with("detail", error.to_string()),
    )
}

/// Says what is wrong with a connection's entry in the connections file.
pub(super) fn invalid(connection: &str, detail: &str) -> Failure {
    let problem = Problem::new(Reason::ConnectionsInvalid).with("path", crate::connections::FILE_NAME);
    failure(problem.with("detail", format!("connection `{connection}`: {detail}")))
}

/// SQLSTATE class 28, and PostgreSQL's and MySQL's "no such database": the login as configured is not accepted.
fn is_refused_login(code: &str) -> bool {
    code.starts_with("28") || matches!(code, "3D000" | "42000" | "1044" | "1045" | "1049" | "1698")
}

/// Says why a statement failed, with its place in the script.
pub(super) fn statement(error: &Error, script: &str, start: usize, line: u32) -> StatementError {
    let said = match error {
        Error::Said(said) | Error::Lost(said) => said.as_ref().clone(),
        Error::Io(_) | Error::Tls(_) | Error::Config(_) | Error::Protocol(_) => Said {
            message: error.to_string(),
            ..Said::default()
        },
    };
    let (line, column) = match said.offset {
        Some(Offset::Byte(offset)) => place(script, start + offset),
        Some(Offset::Line(inner)) => (line + inner.saturating_sub(1), 0),
        None => (line, 0),
    };
    StatementError {
        message: said.message,
        code: said.code,
        detail: said.detail,
        hint: said.hint,
        line,
        column,
    }
}

/// Returns where the word is, when it is there once.
pub(super) fn only_match(sql: &str, word: &str) -> Option<usize> {
    let mut matches = sql.match_indices(word).map(|(offset, _)| offset);
    match (matches.next(), matches.next()) {
        (Some(offset), None) => Some(offset),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_why_and_what_to_do() {
        let detail = "lines that begin with a backslash are commands of psql";
        let failure = failure(Problem::new(Reason::SqlSyntax).with("line", 3).with("detail", detail));
        assert_eq!(failure.reason, "SQL_SYNTAX");
        let (before, after) = failure.message.split_once(detail).expect("the cause is told");
        assert!(before.contains("line 3"), "{before}");
        assert!(after.starts_with(". Correct"), "{after}");
    }

    #[test]
    fn a_refused_connection_is_told_in_the_words_of_the_system() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)");
        let failure = connect("main", &Error::Io(refused));
        assert_eq!(failure.reason, "DATABASE_DOWN");
        assert!(
            failure
                .message
                .contains("“main” does not answer. Connection refused (os error 111). "),
            "{}",
            failure.message
        );
    }
}
