//! Reads a label expression. Recursion-free, so that no input can exhaust the stack.

use super::{EXPRESSION_MAX, Error, Expected, Requirement, Rule, SyntaxError};
use crate::convert::LABEL_MAX;

/// Reads a whole expression.
pub(super) fn requirements(expression: &str) -> Result<Vec<Requirement>, Error> {
    if expression.len() > EXPRESSION_MAX {
        return Err(Error::Syntax(SyntaxError {
            expression: expression.chars().take(40).collect(),
            position: 0,
            expected: Expected::Shorter,
        }));
    }
    let mut reader = Reader {
        characters: expression.chars().collect(),
        at: 0,
    };
    let mut requirements = Vec::new();
    loop {
        requirements.push(requirement(&mut reader).map_err(Error::Syntax)?);
        reader.skip_space();
        match reader.peek() {
            None => return Ok(requirements),
            Some(',') => reader.at += 1,
            Some(_) => return Err(Error::Syntax(reader.expected(Expected::Comma))),
        }
    }
}

fn requirement(reader: &mut Reader) -> Result<Requirement, SyntaxError> {
    reader.skip_space();
    if reader.take('!') {
        return Ok(Requirement {
            key: key(reader)?,
            rule: Rule::Absent,
        });
    }
    let key = key(reader)?;
    reader.skip_space();
    let rule = match reader.peek() {
        None | Some(',') => Rule::Present,
        Some('=') => {
            reader.at += 1;
            // `==` is what people type who came from elsewhere.
            reader.take('=');
            Rule::In(vec![value(reader)?])
        }
        Some('!') => {
            reader.at += 1;
            if !reader.take('=') {
                return Err(reader.expected(Expected::Equals));
            }
            Rule::NotIn(vec![value(reader)?])
        }
        Some(_) => {
            let start = reader.at;
            match reader.word(is_key_char).as_str() {
                "in" => Rule::In(list(reader)?),
                "notin" => Rule::NotIn(list(reader)?),
                _ => {
                    reader.at = start;
                    return Err(reader.expected(Expected::Operator));
                }
            }
        }
    };
    Ok(Requirement { key, rule })
}

fn key(reader: &mut Reader) -> Result<String, SyntaxError> {
    reader.skip_space();
    let start = reader.at;
    let key = reader.word(is_key_char);
    if key.is_empty() {
        return Err(reader.expected(Expected::Key));
    }
    if key.len() > LABEL_MAX {
        reader.at = start;
        return Err(reader.expected(Expected::ShorterKey));
    }
    Ok(key)
}

/// A value may be empty: `env=` asks for the label with an empty value.
fn value(reader: &mut Reader) -> Result<String, SyntaxError> {
    reader.skip_space();
    let start = reader.at;
    let value = reader.word(is_value_char);
    if value.len() > LABEL_MAX {
        reader.at = start;
        return Err(reader.expected(Expected::ShorterValue));
    }
    if !matches!(reader.peek(), None | Some(',' | ')' | ' ' | '\t' | '\n' | '\r')) {
        return Err(reader.expected(Expected::Value));
    }
    Ok(value)
}

fn list(reader: &mut Reader) -> Result<Vec<String>, SyntaxError> {
    reader.skip_space();
    if !reader.take('(') {
        return Err(reader.expected(Expected::List));
    }
    let mut values = Vec::new();
    loop {
        values.push(value(reader)?);
        reader.skip_space();
        if reader.take(')') {
            return Ok(values);
        }
        if !reader.take(',') {
            return Err(reader.expected(Expected::ListEnd));
        }
    }
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-/".contains(c)
}

fn is_value_char(c: char) -> bool {
    is_key_char(c) || ":@+".contains(c)
}

struct Reader {
    characters: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let taken = self.peek() == Some(wanted);
        if taken {
            self.at += 1;
        }
        taken
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn word(&mut self, belongs: fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| belongs(*c)) {
            word.push(c);
            self.at += 1;
        }
        word
    }

    fn expected(&self, expected: Expected) -> SyntaxError {
        SyntaxError {
            expression: self.characters.iter().collect(),
            position: self.at,
            expected,
        }
    }
}
