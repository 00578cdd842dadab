//! The lexer's comments and quotes: what a delimiter in them does not end.

use super::{
    Dialect, Error,
    scanner::{Scanner, is_word},
};

impl Scanner<'_> {
    pub(super) fn skip_comment(&mut self) -> Result<bool, Error> {
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
            let end = match self.dialect {
                Dialect::Postgres => memchr::memchr2(b'\n', b'\r', rest),
                Dialect::Mysql | Dialect::Sqlite => memchr::memchr(b'\n', rest),
            };
            self.position += end.map_or(rest.len(), |at| at + 1);
            return Ok(true);
        }
        if !rest.starts_with(b"/*") || self.is_at_code_comment() {
            return Ok(false);
        }
        self.skip_block_comment()?;
        Ok(true)
    }

    /// `/*! … */`, MariaDB's `/*M! … */` and `/*+ … */` are code and hints: part of the statement.
    fn is_at_code_comment(&self) -> bool {
        let rest = self.rest();
        self.dialect == Dialect::Mysql
            && (rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") || rest.starts_with(b"/*+"))
    }

    /// Passes code in a comment as one piece; quotes in it are quotes.
    pub(super) fn skip_code_comment(&mut self) -> Result<bool, Error> {
        if !self.is_at_code_comment() {
            return Ok(false);
        }
        let line = self.line();
        self.position += 2;
        while !self.at_end() {
            if self.rest().starts_with(b"*/") {
                self.position += 2;
                return Ok(true);
            }
            let skipped = self.skip_quoted() || (self.rest().starts_with(b"/*") && self.skip_comment()?);
            if !skipped {
                self.position += 1;
            }
        }
        Err(unclosed(line))
    }

    fn skip_block_comment(&mut self) -> Result<(), Error> {
        let line = self.line();
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
                    return Ok(());
                }
            } else {
                self.position += 1;
            }
        }
        // SQLite alone takes the end of the script for the end of a comment.
        match self.dialect {
            Dialect::Sqlite => Ok(()),
            Dialect::Postgres | Dialect::Mysql => Err(unclosed(line)),
        }
    }

    /// Passes a quoted piece, if one is next; an unclosed one reaches to the end.
    pub(super) fn skip_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.first().copied() else {
            return false;
        };
        match (self.dialect, first) {
            (Dialect::Postgres, b'e' | b'E') if rest.get(1) == Some(&b'\'') => self.skip_escape_string(2),
            (Dialect::Postgres, b'\'') if self.quoting.backslash_everywhere => self.skip_escape_string(1),
            (Dialect::Postgres, b'$') => return self.skip_dollar_quoted(),
            (Dialect::Mysql, b'\'' | b'"') => self.skip_until(1, first, !self.quoting.no_backslash),
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

    /// Passes `E'…'` with its continuations: another quote after a line end goes on with the same string.
    fn skip_escape_string(&mut self, skip: usize) {
        self.skip_until(skip, b'\'', true);
        loop {
            let after = self.position;
            let mut has_line_end = false;
            while let Some(byte) = self.peek() {
                if byte.is_ascii_whitespace() {
                    has_line_end |= matches!(byte, b'\n' | b'\r');
                    self.position += 1;
                } else if self.rest().starts_with(b"--") {
                    let rest = self.rest();
                    self.position += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                } else {
                    break;
                }
            }
            if !has_line_end || self.peek() != Some(b'\'') {
                self.position = after;
                return;
            }
            self.skip_until(1, b'\'', true);
        }
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

fn unclosed(line: u32) -> Error {
    Error {
        line,
        message: "the comment that begins here with /* is never closed: all that follows would be part of it"
            .to_owned(),
    }
}
