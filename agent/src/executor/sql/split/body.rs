//! What the words and signs of a statement so far say about where it ends.

use super::Dialect;

/// How many first words are kept: `EXPLAIN QUERY PLAN CREATE TEMP TRIGGER` at most.
const HEAD_WORDS: usize = 6;

/// One statement as it is read.
#[derive(Debug)]
pub(super) struct Body {
    dialect: Dialect,
    /// The first words, as long as nothing else stood between them.
    head: Vec<String>,
    head_is_over: bool,
    previous: String,
    is_copy_from_stdin: bool,
    parentheses: u32,
    /// Open `BEGIN ATOMIC` and `CASE` blocks of a PostgreSQL routine.
    blocks: u32,
    /// SQLite: how much of `; END` was just seen in a trigger's body.
    trigger_end: TriggerEnd,
    sets_conforming_strings: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum TriggerEnd {
    #[default]
    Nothing,
    Semicolon,
    End,
}

impl Body {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            head: Vec::new(),
            head_is_over: false,
            previous: String::new(),
            is_copy_from_stdin: false,
            parentheses: 0,
            blocks: 0,
            trigger_end: TriggerEnd::Nothing,
            sets_conforming_strings: false,
        }
    }

    pub(super) fn word(&mut self, word: &str) {
        let word = word.to_ascii_uppercase();
        if !self.head_is_over && self.head.len() < HEAD_WORDS {
            self.head.push(word.clone());
        }
        match self.dialect {
            Dialect::Postgres => {
                let is_copy = self.head.first().is_some_and(|first| first == "COPY");
                self.is_copy_from_stdin |=
                    is_copy && self.parentheses == 0 && self.previous == "FROM" && word == "STDIN";
                self.sets_conforming_strings |=
                    self.head.first().is_some_and(|first| first == "SET") && word == "STANDARD_CONFORMING_STRINGS";
                if self.parentheses == 0 && self.is_routine() {
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
    }

    pub(super) fn sign(&mut self, sign: u8) {
        match (self.dialect, sign) {
            // As psql: a delimiter inside of parentheses ends nothing.
            (Dialect::Postgres, b'(') => self.parentheses += 1,
            (Dialect::Postgres, b')') => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        self.head_is_over = true;
        self.previous.clear();
        self.trigger_end = TriggerEnd::Nothing;
    }

    pub(super) fn inner_delimiter(&mut self) {
        self.previous.clear();
        self.trigger_end = TriggerEnd::Semicolon;
    }

    /// Whether a delimiter here ends the statement.
    pub(super) fn is_closed(&self) -> bool {
        match self.dialect {
            Dialect::Postgres => self.blocks == 0 && self.parentheses == 0,
            Dialect::Sqlite => !self.is_trigger() || self.trigger_end == TriggerEnd::End,
            Dialect::Mysql => true,
        }
    }

    pub(super) fn is_copy_from_stdin(&self) -> bool {
        self.is_copy_from_stdin
    }

    /// `SET standard_conforming_strings = off`: what it sets, when it is such a statement.
    pub(super) fn sets_conforming_strings_off(&self) -> Option<bool> {
        self.sets_conforming_strings.then(|| self.previous == "OFF")
    }

    pub(super) fn into_first_word(self) -> String {
        self.head.into_iter().next().unwrap_or_default()
    }

    /// `CREATE [OR REPLACE] FUNCTION|PROCEDURE`.
    fn is_routine(&self) -> bool {
        matches!(
            self.head_words(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..] | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        )
    }

    /// `[EXPLAIN [QUERY PLAN]] CREATE [TEMP] TRIGGER`.
    fn is_trigger(&self) -> bool {
        let words = self.head_words();
        let words = match words.as_slice() {
            ["EXPLAIN", "QUERY", "PLAN", rest @ ..] | ["EXPLAIN", rest @ ..] | rest => rest,
        };
        matches!(
            words,
            ["CREATE", "TRIGGER", ..] | ["CREATE", "TEMP" | "TEMPORARY", "TRIGGER", ..]
        )
    }

    fn head_words(&self) -> [&str; HEAD_WORDS] {
        std::array::from_fn(|index| self.head.get(index).map_or("", String::as_str))
    }

    fn routine_word(&mut self, word: &str) {
        match word {
            "ATOMIC" if self.previous == "BEGIN" => self.blocks += 1,
            "CASE" if self.blocks > 0 => self.blocks += 1,
            "END" if self.blocks > 0 => self.blocks -= 1,
            _ => {}
        }
    }
}
