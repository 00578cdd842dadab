//! What the odd ones of `--fold` said otherwise: their lines against those of the largest group.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use crate::terminal::fg;

/// Lines around a difference, as `diff -u` has them.
const CONTEXT: usize = 3;
/// Largest output that is compared; what is larger is shown whole.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// Longest search for the smallest difference of one group; after it, a larger one does.
const SEARCH_WITHIN: Duration = Duration::from_millis(300);

/// How two outputs differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// They have the same lines.
    None,
    /// What to show: `-` is only in the first, `+` only in the second.
    Lines(Vec<u8>),
    /// It would be no shorter than the output itself.
    TooMuch,
}

/// Compares two outputs line by line.
pub(super) fn compare(first: &[u8], second: &[u8], color: bool) -> Difference {
    let (old, new) = (lines(first), lines(second));
    let deadline = Instant::now() + SEARCH_WITHIN;
    let hunks = group_diff_ops(
        capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline)),
        CONTEXT,
    );
    let hunks: Vec<_> = hunks
        .into_iter()
        .filter(|hunk| hunk.iter().any(|op| !matches!(op, DiffOp::Equal { .. })))
        .collect();
    if hunks.is_empty() {
        return Difference::None;
    }
    let shown: usize = hunks.iter().flatten().map(weight).sum::<usize>() + hunks.len();
    if shown > new.len() {
        return Difference::TooMuch;
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    match hunks
        .iter()
        .try_for_each(|hunk| write_hunk(&mut text, hunk, &old, &new, color))
    {
        Ok(()) => Difference::Lines(text),
        Err(_) => Difference::TooMuch,
    }
}

/// Says whether an output is no longer than a sentence about it.
pub(super) fn is_short(text: &[u8]) -> bool {
    lines(text).len() <= CONTEXT
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // The end of the last line begins no other.
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

/// Lines that an operation takes on the screen.
fn weight(op: &DiffOp) -> usize {
    match op {
        DiffOp::Equal { len, .. } => *len,
        DiffOp::Delete { old_len, .. } => *old_len,
        DiffOp::Insert { new_len, .. } => *new_len,
        DiffOp::Replace { old_len, new_len, .. } => old_len + new_len,
    }
}

fn write_hunk(to: &mut Vec<u8>, hunk: &[DiffOp], old: &[&[u8]], new: &[&[u8]], color: bool) -> io::Result<()> {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
        return Ok(());
    };
    let range = |start: usize, end: usize| {
        let count = end - start;
        // As `diff -u` counts: an empty range is named by the line before it.
        let begin = if count == 0 { start } else { start + 1 };
        if count == 1 {
            begin.to_string()
        } else {
            format!("{begin},{count}")
        }
    };
    let head = format!(
        "@@ -{} +{} @@",
        range(first.old_range().start, last.old_range().end),
        range(first.new_range().start, last.new_range().end)
    );
    let paint = |style: Style| if color { style } else { Style::new() };
    let (removed, added, place) = (
        paint(fg(AnsiColor::Red)),
        paint(fg(AnsiColor::Green)),
        paint(fg(AnsiColor::Cyan)),
    );
    write_line(to, place, b"", head.as_bytes())?;
    for op in hunk {
        if let DiffOp::Equal { .. } = op {
            for line in old.get(op.old_range()).unwrap_or_default() {
                write_line(to, Style::new(), b" ", line)?;
            }
            continue;
        }
        for line in old.get(op.old_range()).unwrap_or_default() {
            write_line(to, removed, b"-", line)?;
        }
        for line in new.get(op.new_range()).unwrap_or_default() {
            write_line(to, added, b"+", line)?;
        }
    }
    Ok(())
}

fn write_line(to: &mut Vec<u8>, style: Style, mark: &[u8], line: &[u8]) -> io::Result<()> {
    write!(to, "{style}")?;
    to.write_all(mark)?;
    to.write_all(line)?;
    writeln!(to, "{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(from: usize, to: usize) -> String {
        (from..to).map(|n| format!("line {n}\n")).collect()
    }

    fn shown(first: &str, second: &str) -> String {
        match compare(first.as_bytes(), second.as_bytes(), false) {
            Difference::Lines(text) => String::from_utf8(text).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours() {
        let first = numbered(0, 20);
        let second = first.replace("line 9\n", "line nine\n");
        assert_eq!(
            shown(&first, &second),
            "@@ -7,7 +7,7 @@\n line 6\n line 7\n line 8\n-line 9\n+line nine\n line 10\n line 11\n line 12\n"
        );
    }

    #[test]
    fn lines_that_were_added_and_left_out_are_counted_as_diff_does() {
        let base = numbered(0, 12);
        assert!(shown(&base, &format!("first\n{base}")).starts_with("@@ -1,3 +1,4 @@\n+first\n line 0\n"));
        assert!(shown(&format!("first\n{base}"), &base).starts_with("@@ -1,4 +1,3 @@\n-first\n line 0\n"));
        assert!(shown(&base, &format!("{base}last")).ends_with(" line 11\n+last\n"));
    }

    #[test]
    fn places_that_are_far_apart_are_shown_apart() {
        let first = numbered(0, 100);
        let second = first.replace("line 9\n", "nine\n").replace("line 90\n", "ninety\n");
        let text = shown(&first, &second);
        assert_eq!(text.matches("@@ -").count(), 2, "{text}");
        assert!(!text.contains("line 50"), "{text}");
    }

    #[test]
    fn an_end_of_line_at_the_end_is_no_difference() {
        assert_eq!(compare(b"a\nb\n", b"a\nb", false), Difference::None);
        assert_eq!(compare(b"", b"", false), Difference::None);
    }

    #[test]
    fn what_has_little_in_common_is_not_compared() {
        assert_eq!(compare(b"6.1.0\n", b"6.5.2\n", false), Difference::TooMuch);
        assert_eq!(compare(b"", b"a\n", false), Difference::TooMuch);
        assert_eq!(
            compare(numbered(0, 50).as_bytes(), numbered(50, 100).as_bytes(), false),
            Difference::TooMuch
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_compared_too() {
        let first = [numbered(0, 9).as_bytes(), b"\xff\xfe\n"].concat();
        let second = [numbered(0, 9).as_bytes(), b"\xff\xfd\n"].concat();
        let Difference::Lines(text) = compare(&first, &second, false) else {
            panic!("a difference");
        };
        assert!(text.ends_with(b"-\xff\xfe\n+\xff\xfd\n"));
    }

    #[test]
    fn colours_are_there_when_asked_for() {
        let first = numbered(0, 20);
        let second = first.replace("line 9\n", "line nine\n");
        let Difference::Lines(text) = compare(first.as_bytes(), second.as_bytes(), true) else {
            panic!("a difference");
        };
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("\u{1b}[31m-line 9\u{1b}[0m\n\u{1b}[32m+line nine\u{1b}[0m\n"),
            "{text:?}"
        );
    }

    #[test]
    fn the_worst_case_ends_soon() {
        let half = usize::try_from(MAX_BYTES).unwrap() / 12;
        let first: String = (0..half).map(|n| format!("{}\n", n * 7919 % 1009)).collect();
        let second: String = (0..half).map(|n| format!("{}\n", n * 104_729 % 1013)).collect();
        let began = Instant::now();
        compare(first.as_bytes(), second.as_bytes(), false);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
