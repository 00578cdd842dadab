//! The lexer under the splitter: words, delimiters, lines for clients. Comments and quotes are in `quotes.rs`.

use std::ops::Range;

use super::{Dialect, Error, Quoting};

/// What the next piece of a statement is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The script, or the line before a COPY's data, is over.
    End,
    /// A delimiter was passed.
    Delimiter,
    /// A bare word.
    Word(&'a str),
    /// A blank or a comment.
    Blank,
    /// Anything else: a quoted piece (its first byte), a sign.
    Sign(u8),
}

pub(super) struct Scanner<'a> {
    pub(super) script: &'a str,
    /// As far as it may be read now: the data of COPY begins on the next line, and its own line is read first.
    pub(super) bytes: &'a [u8],
    /// Where reading goes on after the data.
    pub(super) after_data: Option<usize>,
    pub(super) position: usize,
    /// Line of `counted`, so that lines are counted once.
    pub(super) line: u32,
    pub(super) counted: usize,
    pub(super) dialect: Dialect,
    pub(super) quoting: Quoting,
    pub(super) delimiter: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(script: &'a str, dialect: Dialect, quoting: Quoting) -> Self {
        // A byte order mark is no SQL.
        let position = if script.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self {
            script,
            bytes: script.as_bytes(),
            after_data: None,
            position,
            line: 1,
            counted: 0,
            dialect,
            quoting,
            delimiter: ";",
        }
    }

    /// The script changes how the server reads strings.
    pub(super) fn set_backslash_everywhere(&mut self, is_on: bool) {
        self.quoting.backslash_everywhere = is_on;
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn at_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// Returns the 1-based line of the position.
    pub(super) fn line(&mut self) -> u32 {
        let passed = self.bytes.get(self.counted..self.position).unwrap_or_default();
        let lines = passed.iter().filter(|byte| **byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.counted = self.position;
        self.line
    }

    pub(super) fn skip_blank_and_comments(&mut self) -> Result<(), Error> {
        while !self.at_end() && (self.skip_blank() || self.skip_comment()?) {}
        Ok(())
    }

    /// Passes a delimiter where a statement could begin, if one is next: it ends nothing.
    pub(super) fn take_delimiter(&mut self) -> bool {
        let rest = self.rest();
        let length = match rest {
            [b'\\', b'g' | b'G', ..] if self.dialect == Dialect::Mysql => 2,
            _ if rest.starts_with(self.delimiter.as_bytes()) => self.delimiter.len(),
            _ => return false,
        };
        self.position += length;
        true
    }

    /// Passes a line that is a command of the database's client and means nothing here; refuses the others.
    pub(super) fn take_client_line(&mut self) -> Result<bool, Error> {
        let line = self.rest_of_line();
        match self.dialect {
            Dialect::Mysql => Ok(self.take_delimiter_line(line)),
            Dialect::Postgres => {
                // What pg_dump writes around a dump since 2025, against scripts that were tampered with.
                let word = line.split_whitespace().next().unwrap_or_default();
                let is_guard = matches!(word, "\\restrict" | "\\unrestrict");
                if is_guard {
                    self.position += line.len();
                }
                Ok(is_guard)
            }
            Dialect::Sqlite if line.starts_with('.') => Err(Error {
                line: self.line(),
                message: "lines that begin with a dot are commands of SQLite's shell, not SQL: remove them".to_owned(),
            }),
            Dialect::Sqlite => Ok(false),
        }
    }

    /// Obeys a line `DELIMITER xx`.
    fn take_delimiter_line(&mut self, line: &'a str) -> bool {
        let Some((word, argument)) = line.split_once([' ', '\t']) else {
            return false;
        };
        if !word.eq_ignore_ascii_case("DELIMITER") {
            return false;
        }
        let argument = argument.trim();
        let unquoted = argument
            .chars()
            .next()
            .filter(|first| matches!(first, '\'' | '"' | '`'))
            .and_then(|quote| {
                let inner = argument.get(1..)?;
                inner.split(quote).next()
            });
        let delimiter = unquoted.or_else(|| argument.split_whitespace().next());
        if let Some(delimiter) = delimiter.filter(|delimiter| !delimiter.is_empty()) {
            self.delimiter = delimiter;
        }
        self.position += line.len();
        true
    }

    /// MySQL's client takes a line `use name` without a delimiter. Returns where its statement ends.
    pub(super) fn take_use_line(&mut self) -> Option<usize> {
        let line = self.rest_of_line();
        let (word, name) = line.split_once([' ', '\t'])?;
        let is_use = self.dialect == Dialect::Mysql
            && word.eq_ignore_ascii_case("use")
            && !line.contains(self.delimiter)
            && name.split_whitespace().count() == 1;
        is_use.then(|| {
            let end = self.position + line.trim_end().len();
            self.position += line.len();
            end
        })
    }

    /// Finds the data of `COPY … FROM stdin`: from the next line, or from the end of other data that begins there, to the
    /// line `\.`, or to the end. What stands on the line after the COPY is read before it is passed.
    pub(super) fn find_copy_data(&mut self) -> Range<usize> {
        let whole = self.script.as_bytes();
        let start = self.after_data.unwrap_or_else(|| {
            let rest = whole.get(self.position..).unwrap_or_default();
            self.position + line_length(rest)
        });
        if self.after_data.is_none() {
            self.bytes = whole.get(..start).unwrap_or(whole);
        }
        let mut at = start;
        loop {
            let rest = whole.get(at..).unwrap_or_default();
            if rest.is_empty() {
                self.after_data = Some(at);
                return start..at;
            }
            let length = line_length(rest);
            let is_end = rest.get(..length).unwrap_or_default().trim_ascii_end() == b"\\.";
            if is_end {
                self.after_data = Some(at + length);
                return start..at;
            }
            at += length;
        }
    }

    /// Whether data of COPY follows the line that is being read.
    pub(super) fn has_copied_data(&self) -> bool {
        self.after_data.is_some()
    }

    /// At the end of the line of a COPY, goes on after its data.
    pub(super) fn pass_copied_data(&mut self) -> bool {
        if !self.at_end() {
            return false;
        }
        let Some(after) = self.after_data.take() else {
            return false;
        };
        // Lines are counted over the whole script.
        self.bytes = self.script.as_bytes();
        self.position = after;
        true
    }

    /// Passes one piece of a statement.
    pub(super) fn step(&mut self) -> Result<Step<'a>, Error> {
        let start = self.position;
        let Some(first) = self.peek() else {
            return Ok(Step::End);
        };
        if self.take_delimiter() {
            return Ok(Step::Delimiter);
        }
        if self.skip_blank() || self.skip_comment()? {
            return Ok(Step::Blank);
        }
        if first == b'\\' && self.take_backslash()? {
            return Ok(Step::Delimiter);
        }
        if self.skip_quoted() || self.skip_code_comment()? {
            return Ok(Step::Sign(first));
        }
        if is_word_start(first) {
            while self.peek().is_some_and(is_word) && !self.is_at_own_delimiter() {
                self.position += 1;
            }
            return Ok(Step::Word(self.script.get(start..self.position).unwrap_or_default()));
        }
        self.position += 1;
        Ok(Step::Sign(first))
    }

    /// MySQL's client looks for the delimiter everywhere, also in words: `END$$`.
    fn is_at_own_delimiter(&self) -> bool {
        self.dialect == Dialect::Mysql && self.delimiter != ";" && self.rest().starts_with(self.delimiter.as_bytes())
    }

    /// A backslash outside of quotes is a command of the client. Says whether it was one that ends a statement.
    fn take_backslash(&mut self) -> Result<bool, Error> {
        let message = match self.dialect {
            Dialect::Sqlite => return Ok(false),
            Dialect::Mysql => match self.rest().get(1) {
                // NULL, in the oldest spelling.
                Some(b'N') => return Ok(false),
                Some(b'g' | b'G') => {
                    self.position += 2;
                    return Ok(true);
                }
                _ => "a backslash outside of quotes is a command of the mysql client, not of the server: remove it",
            },
            Dialect::Postgres => {
                "a backslash outside of quotes is a command of psql (\\connect, \\gset, \\copy …), not of the server: \
                 remove it"
            }
        };
        Err(Error {
            line: self.line(),
            message: message.to_owned(),
        })
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn skip_blank(&mut self) -> bool {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.position += 1;
        }
        self.position > start
    }

    fn rest_of_line(&self) -> &'a str {
        let end = self.position + line_length(self.rest());
        let line = self.script.get(self.position..end).unwrap_or_default();
        line.trim_end_matches(['\n', '\r'])
    }
}

pub(super) const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(super) const fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Length of the first line, with its end.
fn line_length(rest: &[u8]) -> usize {
    memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)
}
