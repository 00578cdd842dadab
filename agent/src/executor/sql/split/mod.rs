//! Splits a script into statements as the database's own client would. Pure: bytes in, ranges out.
//!
//! Known per dialect: comments (nested ones on PostgreSQL, `#` on MySQL), quotes and their escapes, dollar quotes,
//! `DELIMITER` lines, `COPY … FROM stdin` with its data, bodies of SQLite triggers and of PostgreSQL's
//! `BEGIN ATOMIC` functions. Nothing is rewritten: a statement is a slice of the script.

mod scanner;
#[cfg(test)]
mod tests;

use std::ops::Range;

use scanner::{Scanner, Step};

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

/// Splits a script. An unfinished last statement is a statement: the database will say what is wrong with it.
pub(crate) fn split(script: &str, dialect: Dialect) -> Result<Vec<Statement>, Error> {
    let mut scanner = Scanner::new(script, dialect);
    let mut statements = Vec::new();
    while let Some(statement) = next(&mut scanner, dialect)? {
        statements.push(statement);
    }
    Ok(statements)
}

fn next(scanner: &mut Scanner<'_>, dialect: Dialect) -> Result<Option<Statement>, Error> {
    loop {
        scanner.skip_blank_and_comments();
        if dialect == Dialect::Mysql && scanner.take_delimiter_line() {
            continue;
        }
        if !scanner.take_delimiter() {
            break;
        }
    }
    if scanner.at_end() {
        return Ok(None);
    }
    if dialect == Dialect::Postgres && scanner.peek() == Some(b'\\') {
        return Err(Error {
            line: scanner.line(),
            message: "lines that begin with a backslash are commands of psql, not of the server: remove them".into(),
        });
    }

    let start = scanner.position();
    let line = scanner.line();
    let mut body = Body::default();
    let mut end = start;
    loop {
        match scanner.step() {
            Step::End => break,
            Step::Delimiter if body.is_closed(dialect) => break,
            Step::Delimiter => body.inner_delimiter(),
            Step::Word(word) => body.word(word, dialect),
            Step::Other => body.other(),
            Step::Blank => continue,
        }
        end = scanner.position();
    }
    let copy_data = (dialect == Dialect::Postgres && body.is_copy_from_stdin).then(|| scanner.take_copy_data());
    Ok(Some(Statement {
        range: start..end,
        line,
        copy_data,
        tag: body.first_word,
    }))
}

/// What the words of a statement so far say about where it ends.
#[derive(Debug, Default)]
struct Body {
    first_word: String,
    words: usize,
    previous: String,
    is_create: bool,
    is_trigger: bool,
    is_routine: bool,
    is_copy_from_stdin: bool,
    /// Open `BEGIN ATOMIC` and `CASE` blocks of a PostgreSQL routine.
    depth: u32,
    /// SQLite: how much of `; END` was just seen in a trigger's body.
    trigger_end: TriggerEnd,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum TriggerEnd {
    #[default]
    Nothing,
    Semicolon,
    End,
}

impl Body {
    fn word(&mut self, word: &str, dialect: Dialect) {
        let word = word.to_ascii_uppercase();
        if self.words == 0 {
            self.first_word.clone_from(&word);
            self.is_create = word == "CREATE";
        }
        // `CREATE [OR REPLACE] [TEMP] TRIGGER|FUNCTION|PROCEDURE`: the kind is among the first words.
        if self.is_create && self.words <= 4 {
            self.is_trigger |= word == "TRIGGER";
            self.is_routine |= matches!(word.as_str(), "FUNCTION" | "PROCEDURE");
        }
        match dialect {
            Dialect::Postgres => {
                self.is_copy_from_stdin |= self.first_word == "COPY" && self.previous == "FROM" && word == "STDIN";
                if self.is_routine {
                    self.routine_word(&word);
                }
            }
            Dialect::Sqlite => {
                let closes = word == "END" && self.trigger_end == TriggerEnd::Semicolon;
                self.trigger_end = if closes { TriggerEnd::End } else { TriggerEnd::Nothing };
            }
            Dialect::Mysql => {}
        }
        self.previous = word;
        self.words += 1;
    }

    fn routine_word(&mut self, word: &str) {
        match word {
            "ATOMIC" if self.previous == "BEGIN" => self.depth += 1,
            "CASE" if self.depth > 0 => self.depth += 1,
            "END" if self.depth > 0 => self.depth -= 1,
            _ => {}
        }
    }

    fn other(&mut self) {
        self.words += 1;
        self.previous.clear();
        self.trigger_end = TriggerEnd::Nothing;
    }

    fn inner_delimiter(&mut self) {
        self.previous.clear();
        self.trigger_end = TriggerEnd::Semicolon;
    }

    fn is_closed(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Postgres => self.depth == 0,
            Dialect::Sqlite => !(self.is_create && self.is_trigger) || self.trigger_end == TriggerEnd::End,
            Dialect::Mysql => true,
        }
    }
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
