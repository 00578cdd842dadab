//! Lines that a link points at: `1200`, or `1200-1210`, counted from 1 as people count.

use std::fmt;

/// One line or several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Where it began: stays when the other end is moved.
    anchor: u64,
    /// Its other end.
    head: u64,
}

impl Mark {
    /// One line.
    pub const fn line(line: u64) -> Self {
        Self {
            anchor: line,
            head: line,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (anchor, head) = text.split_once('-').unwrap_or((text, text));
        let mark = Self {
            anchor: anchor.parse().ok()?,
            head: head.parse().ok()?,
        };
        (mark.first() > 0).then_some(mark)
    }

    /// From where it began to this line.
    pub const fn to(self, line: u64) -> Self {
        Self { head: line, ..self }
    }

    /// With its other end moved by so many lines.
    pub fn moved(self, by: i64) -> Self {
        self.to(self.head.saturating_add_signed(by).max(1))
    }

    /// The first line.
    pub fn first(self) -> u64 {
        self.anchor.min(self.head)
    }

    /// The last line.
    pub fn last(self) -> u64 {
        self.anchor.max(self.head)
    }

    /// How many lines.
    pub fn count(self) -> u64 {
        self.last() - self.first() + 1
    }

    /// True for a line of it.
    pub fn has(self, line: u64) -> bool {
        (self.first()..=self.last()).contains(&line)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first())?;
        if self.anchor == self.head {
            return Ok(());
        }
        write!(f, "-{}", self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        for text in ["1", "7-12", "1000000"] {
            assert_eq!(Mark::parse(text).expect(text).to_string(), text);
        }
        for text in ["", "0", "0-4", "x", "4-", "-4", "1.5"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_grows_from_where_it_began_in_both_directions() {
        let mark = Mark::line(10);
        assert_eq!(mark.to(14).to_string(), "10-14");
        assert_eq!(mark.to(14).to(8).to_string(), "8-10");
        assert_eq!(mark.moved(-2).moved(1).to_string(), "9-10");
        assert_eq!(Mark::line(1).moved(-5).to_string(), "1");
        assert!(mark.to(12).has(11) && !mark.has(11));
        assert_eq!(mark.to(12).count(), 3);
    }
}
