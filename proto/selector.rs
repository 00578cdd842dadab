//! Who is meant: names, globs, ids and label expressions. Pure: the caller brings the agents.
//!
//! # Shape
//! ```text
//! expression  = requirement { "," requirement }                     every one must hold
//! requirement = key "=" value | key "==" value | key "!=" value
//!             | key "in" "(" value { "," value } ")" | key "notin" "(" … ")"
//!             | key                                                  the label is there
//!             | "!" key                                              it is not
//! ```
//! `!=` and `notin` also hold when the label is absent, as in Kubernetes.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    convert::{LABEL_MAX, LABELS_MAX},
    id::AgentId,
    pb,
    problem::Problem,
    reason::Reason,
};

mod parse;

/// Most names, or names to leave out, of one selector. Also bounds the work of matching 10,000 agents.
pub const NAMES_MAX: usize = 10_000;
/// Longest expression, in bytes: room for every label a cloud would sensibly keep.
pub const EXPRESSION_MAX: usize = LABELS_MAX * 2 * LABEL_MAX;

/// Which agents, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    all: bool,
    names: Names,
    requirements: Vec<Requirement>,
    exclude: Names,
}

/// One part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Present,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// Exact names are looked up, globs are tried one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Names {
    exact: std::collections::BTreeSet<String>,
    ids: std::collections::BTreeSet<AgentId>,
    globs: Vec<String>,
}

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no part at all.
    #[error("the selector is empty")]
    Empty,
    /// Its expression cannot be read.
    #[error("{0}")]
    Syntax(SyntaxError),
    /// A name that no agent can have.
    #[error("`{name}` is no agent name, glob or id: {detail}")]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// More names than allowed.
    #[error("the selector has {count} names; at most {NAMES_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// What an expression should have at the place where it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A comma, or the end.
    Comma,
    /// The second half of `!=`.
    Equals,
    /// What comes after a name.
    Operator,
    /// A name.
    Key,
    /// A shorter name.
    ShorterKey,
    /// A shorter value.
    ShorterValue,
    /// A value, without the character at this place.
    Value,
    /// The beginning of a list.
    List,
    /// The next part of a list, or its end.
    ListEnd,
    /// A shorter expression.
    Shorter,
}

impl Expected {
    /// Every one, for tests of their sentences.
    pub const ALL: [Self; 10] = [
        Self::Comma,
        Self::Equals,
        Self::Operator,
        Self::Key,
        Self::ShorterKey,
        Self::ShorterValue,
        Self::Value,
        Self::List,
        Self::ListEnd,
        Self::Shorter,
    ];

    /// Returns the word by which sentences choose.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Equals => "equals",
            Self::Operator => "operator",
            Self::Key => "key",
            Self::ShorterKey => "shorter-key",
            Self::ShorterValue => "shorter-value",
            Self::Value => "value",
            Self::List => "list",
            Self::ListEnd => "list-end",
            Self::Shorter => "shorter",
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "expected `,` or the end",
            Self::Equals => "expected `=` after `!`",
            Self::Operator => "expected `=`, `!=`, `in`, `notin`, `,` or the end",
            Self::Key => "expected the name of a label",
            Self::ShorterKey => "expected a name of at most 63 characters",
            Self::ShorterValue => "expected a value of at most 63 characters",
            Self::Value => "expected a value of the characters A-Z a-z 0-9 . _ - / : @ +",
            Self::List => "expected `(`",
            Self::ListEnd => "expected `,` or `)`",
            Self::Shorter => "expected a shorter expression",
        })
    }
}

/// Where and why an expression cannot be read. Displayed in three lines: what, the expression, a caret below the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The whole expression.
    pub expression: String,
    /// Offset of the fault in characters, from 0; the expression's length when it ends too early.
    pub position: usize,
    /// What was expected.
    pub expected: Expected,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at position {}\n{}",
            self.expected,
            self.position + 1,
            self.drawing()
        )
    }
}

impl SyntaxError {
    /// Returns the expression, and below it a caret at the place.
    fn drawing(&self) -> String {
        // Control characters would move the caret, or the terminal.
        let shown: String = self
            .expression
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent: usize = self.expression.chars().take(self.position).map(columns).sum();
        format!("  {shown}\n  {:indent$}^", "")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Empty => Self::new(Reason::SelectorEmpty),
            Error::Syntax(syntax) => Self::new(Reason::SelectorSyntax)
                .with("detail", syntax.expected)
                .with("expected", syntax.expected.code())
                .with("drawing", format!("\n{}", syntax.drawing()))
                .with("expression", &syntax.expression)
                .with("position", syntax.position),
            Error::Name { .. } | Error::TooMany { .. } => Self::new(Reason::SelectorSyntax)
                .with("detail", &error)
                .with("expected", "other")
                .with("drawing", ""),
        }
    }
}

impl Selector {
    /// Reads a selector from its wire form.
    ///
    /// # Errors
    /// It is empty, or one of its parts cannot be read.
    pub fn parse(selector: pb::Selector) -> Result<Self, Error> {
        let expression = selector.expression.trim();
        if !selector.all && selector.names.is_empty() && expression.is_empty() {
            return Err(Error::Empty);
        }
        let requirements = if expression.is_empty() {
            Vec::new()
        } else {
            parse::requirements(&selector.expression)?
        };
        Ok(Self {
            all: selector.all,
            names: Names::parse(selector.names)?,
            requirements,
            exclude: Names::parse(selector.exclude)?,
        })
    }

    /// Reads a bare label expression, as in a list's `filter`.
    ///
    /// # Errors
    /// See [`Self::parse`].
    pub fn parse_expression(expression: &str) -> Result<Self, Error> {
        Self::parse(pb::Selector {
            expression: expression.to_owned(),
            ..Default::default()
        })
    }

    /// Tries that [`Self::matches`] may need for one agent: names that must be tried one by one.
    pub fn cost(&self) -> usize {
        let globs = self.names.globs.len().saturating_add(self.exclude.globs.len());
        globs.saturating_add(self.requirements.len()).saturating_add(1)
    }

    /// Says whether an agent is meant.
    pub fn matches(&self, name: &str, id: AgentId, labels: &BTreeMap<String, String>) -> bool {
        (self.names.is_empty() || self.names.matches(name, id))
            && self.requirements.iter().all(|requirement| requirement.holds(labels))
            && !self.exclude.matches(name, id)
    }

    /// Returns the names and ids that were given exactly and that none of these agents has, in order: so that a
    /// forgotten machine is an error and not a silent gap. `known` says whether an agent has this name or id.
    pub fn unknown_names(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        self.names.unknown(known)
    }

    /// Returns the same of the names and ids to leave out: a mistyped one would spare nobody. A glob is a wish about
    /// whoever is there, and may match nobody.
    pub fn unknown_excluded(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        self.exclude.unknown(known)
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.rule {
            Rule::Present => value.is_some(),
            Rule::Absent => value.is_none(),
            Rule::In(values) => value.is_some_and(|value| values.contains(value)),
            Rule::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

impl Names {
    fn parse(names: Vec<String>) -> Result<Self, Error> {
        if names.len() > NAMES_MAX {
            return Err(Error::TooMany { count: names.len() });
        }
        let mut parsed = Self::default();
        for name in names {
            let fault = |detail| {
                Err(Error::Name {
                    name: name.chars().take(64).collect(),
                    detail,
                })
            };
            if name.is_empty() {
                return fault("it is empty");
            }
            if name.len() > LABEL_MAX {
                return fault("it is longer than 63 characters");
            }
            if let Ok(id) = AgentId::from_str(&name) {
                parsed.ids.insert(id);
            } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-*?".contains(c)) {
                return fault("only the characters a-z 0-9 . _ - * ? are possible");
            } else if name.contains(['*', '?']) {
                parsed.globs.push(name);
            } else {
                parsed.exact.insert(name);
            }
        }
        Ok(parsed)
    }

    fn unknown(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        let ids = self.ids.iter().map(AgentId::to_string);
        self.exact
            .iter()
            .cloned()
            .chain(ids)
            .filter(|name| !known(name))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.ids.is_empty() && self.globs.is_empty()
    }

    fn matches(&self, name: &str, id: AgentId) -> bool {
        self.exact.contains(name) || self.ids.contains(&id) || self.globs.iter().any(|glob| glob_matches(glob, name))
    }
}

/// Linear in practice, at worst glob × name: goes back to the last `*` only.
fn glob_matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut next) = (0, 0);
    let mut last_star = None;
    while let Some(byte) = name.get(next) {
        match glob.get(at) {
            Some(b'*') => {
                last_star = Some((at, next));
                at += 1;
            }
            Some(wanted) if wanted == byte || *wanted == b'?' => {
                at += 1;
                next += 1;
            }
            Some(_) | None => match last_star {
                Some((star, taken)) => {
                    last_star = Some((star, taken + 1));
                    at = star + 1;
                    next = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Columns that a character takes in a terminal: two for the wide scripts of East Asia, near enough for a caret.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[path = "selector/tests.rs"]
mod tests;
