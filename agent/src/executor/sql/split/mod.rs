//! Splits a script into statements as the database's own client would. Pure: bytes in, ranges out.
//!
//! Known per dialect: comments (nested ones on PostgreSQL, `#` on MySQL), quotes and their escapes, dollar quotes,
//! parentheses on PostgreSQL (a rule's actions), `DELIMITER` lines, `COPY … FROM stdin` with its data, bodies of SQLite
//! triggers and of PostgreSQL's `BEGIN ATOMIC` functions. Nothing is rewritten: a statement is a slice of the script.
//! Commands of the clients themselves are found here, so before anything is sent.

mod body;
mod quotes;
mod scanner;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::session::Quoting;
use body::Body;
use scanner::{Scanner, Step};

/// Length of a statement's summary, in characters.
const SUMMARY_CHARS: usize = 200;

/// Whose rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// PostgreSQL, as psql reads it.
    Postgres,
    /// MySQL and MariaDB, as their client reads it.
    Mysql,
    /// SQLite.
    Sqlite,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its bytes in the script: without leading comments and blanks, without the delimiter.
    pub(crate) range: Range<usize>,
    /// 1-based line of its first character.
    pub(crate) line: u32,
    /// Data that follows `COPY … FROM stdin`, without the closing `\.` line.
    pub(crate) copy_data: Option<Range<usize>>,
    /// Its first word in capitals: `SELECT`, `INSERT`, …
    pub(crate) tag: String,
}

/// Something that no server would understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(crate) struct Error {
    /// 1-based line.
    pub(crate) line: u32,
    /// What and what to do.
    pub(crate) message: String,
}

/// Splits a script for a server that reads quotes as it does by default.
#[cfg(test)]
pub(crate) fn split(script: &str, dialect: Dialect) -> Result<Vec<Statement>, Error> {
    split_as(script, dialect, Quoting::default())
}

/// Splits a script. An unfinished last statement is a statement: the database will say what is wrong with it.
pub(crate) fn split_as(script: &str, dialect: Dialect, quoting: Quoting) -> Result<Vec<Statement>, Error> {
    let mut scanner = Scanner::new(script, dialect, quoting);
    let mut statements = Vec::new();
    while let Some(statement) = next(&mut scanner, dialect)? {
        statements.push(statement);
    }
    Ok(statements)
}

fn next(scanner: &mut Scanner<'_>, dialect: Dialect) -> Result<Option<Statement>, Error> {
    loop {
        scanner.skip_blank_and_comments()?;
        if scanner.pass_copied_data() || scanner.take_client_line()? {
            continue;
        }
        if !scanner.take_delimiter() {
            break;
        }
    }
    if scanner.at_end() {
        return Ok(None);
    }
    let start = scanner.position();
    let line = scanner.line();
    if let Some(end) = scanner.take_use_line() {
        return Ok(Some(Statement {
            range: start..end,
            line,
            copy_data: None,
            tag: "USE".to_owned(),
        }));
    }
    let mut body = Body::new(dialect);
    let mut end = start;
    loop {
        match scanner.step()? {
            Step::End => {
                if scanner.has_copied_data() {
                    let message = "a statement begins on the line of COPY … FROM stdin and goes on after its data: \
                                   begin it on a line of its own";
                    return Err(Error {
                        line,
                        message: message.to_owned(),
                    });
                }
                break;
            }
            Step::Delimiter if body.is_closed() => break,
            Step::Delimiter => body.inner_delimiter(),
            Step::Word(word) => body.word(word),
            Step::Sign(sign) => body.sign(sign),
            Step::Blank => continue,
        }
        end = scanner.position();
    }
    let copy_data = body.is_copy_from_stdin().then(|| scanner.find_copy_data());
    if let Some(is_off) = body.sets_conforming_strings_off() {
        scanner.set_backslash_everywhere(is_off);
    }
    Ok(Some(Statement {
        range: start..end,
        line,
        copy_data,
        tag: body.into_first_word(),
    }))
}

/// Returns the first characters of a statement on one line.
pub(crate) fn summary(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    let mut summary = words.next().unwrap_or_default().to_owned();
    for word in words {
        if summary.chars().count() > SUMMARY_CHARS {
            break;
        }
        summary.push(' ');
        summary.push_str(word);
    }
    if summary.chars().count() > SUMMARY_CHARS {
        summary = summary.chars().take(SUMMARY_CHARS - 1).chain(['…']).collect();
    }
    summary
}

/// Returns the 1-based line and column of a byte offset; columns count characters.
pub(crate) fn place(script: &str, offset: usize) -> (u32, u32) {
    let before = script.get(..offset.min(script.len())).unwrap_or(script);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}
