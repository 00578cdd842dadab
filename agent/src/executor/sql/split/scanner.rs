//! The lexer under the splitter: comments, quotes, words, delimiters.

use std::ops::Range;

use super::Dialect;

/// What the next piece of a statement is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The script is over.
    End,
    /// A delimiter was passed.
    Delimiter,
    /// A bare word.
    Word(&'a str),
    /// A blank or a comment.
    Blank,
    /// Anything else: a quoted piece, a sign.
    Other,
}

pub(super) struct Scanner<'a> {
    script: &'a str,
    bytes: &'a [u8],
    position: usize,
    /// Line of `counted`, so that lines are counted once.
    line: u32,
    counted: usize,
    dialect: Dialect,
    delimiter: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(script: &'a str, dialect: Dialect) -> Self {
        // A byte order mark is no SQL.
        let position = if script.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self {
            script,
            bytes: script.as_bytes(),
            position,
            line: 1,
            counted: 0,
            dialect,
            delimiter: ";",
        }
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

    pub(super) fn skip_blank_and_comments(&mut self) {
        while !self.at_end() && (self.skip_blank() || self.skip_comment()) {}
    }

    /// Passes a delimiter, if one is next.
    pub(super) fn take_delimiter(&mut self) -> bool {
        let found = self.rest().starts_with(self.delimiter.as_bytes());
        if found {
            self.position += self.delimiter.len();
        }
        found
    }

    /// Passes a line `DELIMITER xx`, if one is next, and obeys it.
    pub(super) fn take_delimiter_line(&mut self) -> bool {
        const WORD: &str = "DELIMITER";
        let line = self
            .script
            .get(self.position..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let Some((word, argument)) = line.split_once([' ', '\t']) else {
            return false;
        };
        if !word.eq_ignore_ascii_case(WORD) {
            return false;
        }
        if let Some(delimiter) = argument.split_whitespace().next() {
            self.delimiter = delimiter;
        }
        self.position += line.len();
        true
    }

    /// Passes the data of `COPY … FROM stdin`: from the next line to the line `\.`, or to the end.
    pub(super) fn take_copy_data(&mut self) -> Range<usize> {
        self.skip_line();
        let start = self.position;
        while !self.at_end() {
            let line = self.position;
            self.skip_line();
            let text = self.bytes.get(line..self.position).unwrap_or_default();
            if text.trim_ascii_end() == b"\\." {
                return start..line;
            }
        }
        start..self.position
    }

    /// Passes one piece of a statement.
    pub(super) fn step(&mut self) -> Step<'a> {
        if self.at_end() {
            return Step::End;
        }
        let start = self.position;
        if self.take_delimiter() {
            return Step::Delimiter;
        }
        if self.skip_blank() || self.skip_comment() {
            return Step::Blank;
        }
        if self.skip_quoted() {
            return Step::Other;
        }
        if self.peek().is_some_and(is_word_start) {
            while self.peek().is_some_and(is_word) {
                self.position += 1;
            }
            return Step::Word(self.script.get(start..self.position).unwrap_or_default());
        }
        self.position += 1;
        Step::Other
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn skip_blank(&mut self) -> bool {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.position += 1;
        }
        self.position > start
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.position += memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    }

    fn skip_comment(&mut self) -> bool {
        let rest = self.rest();
        let line_comment = match self.dialect {
            // MySQL wants a blank after the dashes: `5--1` is a difference there.
            Dialect::Mysql => {
                rest.starts_with(b"#")
                    || (rest.starts_with(b"--") && rest.get(2).is_none_or(|byte| byte.is_ascii_whitespace()))
            }
            Dialect::Postgres | Dialect::Sqlite => rest.starts_with(b"--"),
        };
        if line_comment {
            self.skip_line();
            return true;
        }
        // `/*!` and `/*+` are code and hints on MySQL: part of the statement.
        let is_code = self.dialect == Dialect::Mysql && matches!(rest.get(2), Some(b'!' | b'+'));
        if rest.starts_with(b"/*") && !is_code {
            self.skip_block_comment();
            return true;
        }
        false
    }

    fn skip_block_comment(&mut self) {
        let nests = self.dialect == Dialect::Postgres;
        let mut depth = 0_u32;
        while !self.at_end() {
            let rest = self.rest();
            if rest.starts_with(b"/*") && (nests || depth == 0) {
                depth += 1;
                self.position += 2;
            } else if rest.starts_with(b"*/") {
                depth -= 1;
                self.position += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.position += 1;
            }
        }
    }

    /// Passes a quoted piece, if one is next; an unclosed one reaches to the end.
    fn skip_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.first().copied() else {
            return false;
        };
        match (self.dialect, first) {
            (Dialect::Postgres, b'e' | b'E') if rest.get(1) == Some(&b'\'') => self.skip_until(2, b'\'', true),
            (Dialect::Postgres, b'$') => return self.skip_dollar_quoted(),
            (Dialect::Mysql, b'\'' | b'"') => self.skip_until(1, first, true),
            (Dialect::Mysql | Dialect::Sqlite, b'`') => self.skip_until(1, b'`', false),
            (Dialect::Sqlite, b'[') => self.skip_until(1, b']', false),
            (Dialect::Postgres | Dialect::Sqlite, b'\'' | b'"') => self.skip_until(1, first, false),
            _ => return false,
        }
        true
    }

    /// Passes `skip` bytes and then everything to the closing quote; a doubled quote does not close.
    fn skip_until(&mut self, skip: usize, quote: u8, backslash_escapes: bool) {
        self.position += skip;
        while let Some(byte) = self.peek() {
            self.position += 1;
            if byte == b'\\' && backslash_escapes {
                self.position += 1;
            } else if byte == quote {
                if self.peek() != Some(quote) {
                    return;
                }
                self.position += 1;
            }
        }
        self.position = self.position.min(self.bytes.len());
    }

    fn skip_dollar_quoted(&mut self) -> bool {
        let rest = self.rest();
        // `a$b$` is a name, `$1` a parameter.
        let after_word = self
            .position
            .checked_sub(1)
            .and_then(|at| self.bytes.get(at))
            .copied()
            .is_some_and(is_word);
        let tag = rest
            .get(1..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| is_word(**byte) && **byte != b'$')
            .count();
        let is_parameter = rest.get(1).is_some_and(u8::is_ascii_digit);
        if after_word || is_parameter || rest.get(tag + 1) != Some(&b'$') {
            return false;
        }
        let quote = rest.get(..tag + 2).unwrap_or_default();
        let body = rest.get(tag + 2..).unwrap_or_default();
        let length = memchr::memmem::find(body, quote).map_or(body.len(), |at| at + quote.len());
        self.position += quote.len() + length;
        true
    }
}

const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
