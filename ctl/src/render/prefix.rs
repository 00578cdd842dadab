//! `agent │ `: who says a line, in a colour that stays the same from run to run.

use anstyle::{AnsiColor, Style};

use crate::{render::escape, terminal::fg};

/// Names longer than this are not padded to.
const MAX_WIDTH: usize = 24;

/// Colours that can be read on dark and on light; red and yellow mean errors and warnings.
const COLORS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// The prefix of one agent, made once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefix {
    /// Before a line.
    pub(crate) line: Vec<u8>,
    /// Before the rest of a line whose beginning was shown already.
    pub(crate) rest: Vec<u8>,
}

impl Prefix {
    /// Makes the prefix of an agent, padded to `width`.
    pub(crate) fn new(agent: &str, width: usize, color: bool) -> Self {
        let name = escape::visible(agent);
        let pad = width.min(MAX_WIDTH).saturating_sub(name.chars().count());
        let part = |bar: char| {
            let text = format!("{name}{} {bar}", " ".repeat(pad));
            let style = if color { style(agent) } else { Style::new() };
            format!("{style}{text}{style:#} ").into_bytes()
        };
        Self {
            line: part('│'),
            rest: part('┊'),
        }
    }
}

/// Returns the colour of a name: FNV-1a, because it must not change between versions or runs.
fn style(name: &str) -> Style {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let index = usize::try_from((hash ^ (hash >> 32)) & 0xffff).unwrap_or_default() % COLORS.len();
    COLORS.get(index).map_or_else(Style::new, |color| fg(*color))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_to_one_width() {
        assert_eq!(Prefix::new("db", 5, false).line, "db    │ ".as_bytes());
        assert_eq!(Prefix::new("web-1", 5, false).line, "web-1 │ ".as_bytes());
        assert_eq!(Prefix::new("web-1", 5, false).rest, "web-1 ┊ ".as_bytes());
    }

    #[test]
    fn a_name_has_one_colour_for_ever() {
        assert_eq!(Prefix::new("prod", 4, true).line, Prefix::new("prod", 4, true).line);
        assert!(Prefix::new("prod", 4, true).line.starts_with(b"\x1b["));
        let different: std::collections::HashSet<Vec<u8>> = (0..64)
            .map(|n| style(&format!("web-{n}")).to_string().into_bytes())
            .collect();
        assert!(different.len() >= 6, "only {} colours are used", different.len());
    }
}
