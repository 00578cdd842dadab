//! What went wrong, for people: connection errors as failures, statement errors with their place in the script.

use opslink::{event::StatementError, locale::Language, problem::Problem, reason::Reason};
use sqlx::{
    Error,
    postgres::{PgDatabaseError, PgErrorPosition},
};

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

/// The server's or the system's own words, without the driver's.
fn words(error: &Error) -> String {
    match error {
        Error::Database(database) => database.message().to_owned(),
        Error::Io(error) => error.to_string(),
        // The driver's list is open; what it says itself is all that is known.
        other => other.to_string(),
    }
}

/// Says why a connection could not be opened.
pub(super) fn connect(connection: &str, error: &Error) -> Failure {
    let reason = match error {
        Error::Tls(_) => Reason::DatabaseTls,
        Error::Database(database) if is_refused_login(database.code().as_deref()) => Reason::DatabaseAuth,
        // A server without TLS ends the handshake in its own words.
        Error::Io(_) | Error::Database(_) if error.to_string().to_lowercase().contains("tls") => Reason::DatabaseTls,
        Error::Configuration(_) => {
            let problem = Problem::new(Reason::ConnectionsInvalid).with("path", "connections.toml");
            return failure(problem.with("detail", format!("connection `{connection}`: {error}")));
        }
        _ => Reason::DatabaseDown,
    };
    failure(
        Problem::new(reason)
            .with("connection", connection)
            .with("detail", words(error)),
    )
}

/// SQLSTATE class 28, and PostgreSQL's and MySQL's "no such database": the login as configured is not accepted.
fn is_refused_login(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42000" || code == "1049")
}

/// Says why a statement failed, with its place in the script.
pub(super) fn statement(
    error: &Error,
    offset: Option<Offset>,
    script: &str,
    start: usize,
    line: u32,
) -> StatementError {
    let (line, column) = match offset {
        Some(Offset::Byte(offset)) => place(script, start + offset),
        Some(Offset::Line(inner)) => (line + inner.saturating_sub(1), 0),
        None => (line, 0),
    };
    let Error::Database(database) = error else {
        return StatementError {
            message: error.to_string(),
            line,
            column,
            ..StatementError::default()
        };
    };
    let postgres = database.try_downcast_ref::<PgDatabaseError>();
    StatementError {
        message: database.message().to_owned(),
        code: database.code().unwrap_or_default().into_owned(),
        detail: postgres
            .and_then(PgDatabaseError::detail)
            .unwrap_or_default()
            .to_owned(),
        hint: postgres.and_then(PgDatabaseError::hint).unwrap_or_default().to_owned(),
        line,
        column,
    }
}

/// PostgreSQL counts characters of the statement from 1.
pub(super) fn postgres_offset(error: &Error, sql: &str) -> Option<Offset> {
    let Error::Database(database) = error else { return None };
    match database.try_downcast_ref::<PgDatabaseError>()?.position()? {
        PgErrorPosition::Original(character) => sql
            .char_indices()
            .nth(character.checked_sub(1)?)
            .map(|(offset, _)| Offset::Byte(offset)),
        PgErrorPosition::Internal { .. } => None,
    }
}

/// MySQL ends its syntax errors with `near '…' at line N`, counted from the statement's first line.
pub(super) fn mysql_offset(error: &Error, sql: &str) -> Option<Offset> {
    let message = error.to_string();
    let (before, line) = message.rsplit_once("at line ")?;
    let line: u32 = line.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let near = before
        .rsplit_once("near '")
        .map(|(_, near)| near.trim_end().trim_end_matches('\''));
    // The quoted rest of the statement stands in it word for word, once: then the column is known too.
    let found = near
        .filter(|near| !near.is_empty())
        .and_then(|near| only_match(sql, near));
    Some(found.map_or(Offset::Line(line), Offset::Byte))
}

/// SQLite says `near "word": syntax error`, or `no such column: word`.
pub(super) fn sqlite_offset(error: &Error, sql: &str) -> Option<Offset> {
    let message = error.to_string();
    let near = message
        .split_once("near \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(word, _)| word);
    let named = ["no such table: ", "no such column: ", "no such function: "]
        .iter()
        .find_map(|prefix| message.split_once(prefix).map(|(_, word)| word.trim()));
    only_match(sql, near.or(named)?).map(Offset::Byte)
}

fn only_match(sql: &str, word: &str) -> Option<usize> {
    let mut matches = sql.match_indices(word).map(|(offset, _)| offset);
    match (matches.next(), matches.next()) {
        (Some(offset), None) => Some(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
