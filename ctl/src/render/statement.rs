//! What SQL statements say about themselves: `INSERT · 5 rows · 12 ms`, or an error with a caret to the script.

use std::{fmt::Write, time::Duration};

use anstyle::{AnsiColor, Style};
use opslink::event::{Level, Note, StatementEnd, StatementError};
use unicode_width::UnicodeWidthStr;

use crate::{duration, render::escape, terminal::fg, text::text};

/// Longest piece of a script line that is shown around an error.
const MAX_EXCERPT: usize = 120;

/// The script that was sent, for showing the place of an error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// File name at the caller.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
}

fn paint(color: bool, style: Style, text: &str) -> String {
    if color {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// Describes the end of a statement, in one line or, when it failed, in several.
pub(crate) fn end(end: &StatementEnd, first_line: u32, script: &Script, color: bool) -> String {
    if let Some(error) = &end.error {
        return failed(error, first_line, script, color);
    }
    let tag = if end.tag.is_empty() { "OK" } else { &end.tag };
    let took = duration::show(Duration::from_micros(end.elapsed_us));
    let mut line = escape::visible(tag);
    if let Some(rows) = end.rows_affected {
        let _ = write!(line, " · {}", text("sql-rows-affected", &[("n", &rows.to_string())]));
    } else if end.rows_returned > 0 || tag.eq_ignore_ascii_case("select") {
        let _ = write!(
            line,
            " · {}",
            text("sql-rows", &[("n", &end.rows_returned.to_string())])
        );
    }
    let _ = write!(line, " · {took}");
    if end.rows_cut {
        let cut = text("sql-rows-cut", &[]);
        return format!(
            "{} {}",
            paint(color, Style::new().dimmed(), &line),
            paint(color, fg(AnsiColor::Yellow), &cut)
        );
    }
    paint(color, Style::new().dimmed(), &line)
}

fn failed(error: &StatementError, first_line: u32, script: &Script, color: bool) -> String {
    let red = fg(AnsiColor::Red).bold();
    let dim = Style::new().dimmed();
    let code = if error.code.is_empty() {
        String::new()
    } else {
        format!(" ({})", escape::visible(&error.code))
    };
    let mut out = format!(
        "{} {}{code}",
        paint(color, red, "error:"),
        escape::visible(&error.message)
    );
    let line = if error.line > 0 { error.line } else { first_line };
    if line > 0 {
        let name = if script.name.is_empty() { "sql" } else { &script.name };
        let column = if error.column > 0 {
            format!(":{}", error.column)
        } else {
            String::new()
        };
        let _ = write!(
            out,
            "\n{} {}:{line}{column}",
            paint(color, dim, "  at"),
            escape::visible(name)
        );
        if let Some(source) = script.text.lines().nth(line as usize - 1) {
            excerpt(&mut out, line, source, error.column as usize, color);
        }
    }
    for (word, detail) in [("detail", &error.detail), ("hint", &error.hint)] {
        if !detail.is_empty() {
            let _ = write!(
                out,
                "\n{} {}",
                paint(color, dim, &format!("{word}:")),
                escape::visible(detail)
            );
        }
    }
    out
}

/// Draws the script's line and a caret under the column (1-based, in characters).
fn excerpt(out: &mut String, line: u32, source: &str, column: usize, color: bool) {
    let dim = Style::new().dimmed();
    // A line of a megabyte is shown around its fault only.
    let skip = column.saturating_sub(1).saturating_sub(MAX_EXCERPT / 2);
    let (lead, tail) = (
        if skip > 0 { "…" } else { "" },
        if source.chars().count() > skip + MAX_EXCERPT {
            "…"
        } else {
            ""
        },
    );
    let piece: String = source.chars().skip(skip).take(MAX_EXCERPT).collect();
    let gutter = format!("{line} │ ");
    let _ = write!(
        out,
        "\n{}{lead}{}{tail}",
        paint(color, dim, &gutter),
        escape::visible(&piece)
    );
    if column > 0 {
        let before: String = source
            .chars()
            .skip(skip)
            .take(column - 1 - skip.min(column - 1))
            .collect();
        let width = lead.width() + escape::visible(&before).width();
        let bar = format!("{} │ ", " ".repeat(gutter.chars().count() - 3));
        let caret = paint(color, fg(AnsiColor::Red).bold(), "^");
        let _ = write!(out, "\n{}{}{caret}", paint(color, dim, &bar), " ".repeat(width));
    }
}

/// Describes a note of the runner or the executor.
pub(crate) fn note(note: &Note, color: bool) -> String {
    let (word, style) = match note.level {
        Level::Info => ("note", fg(AnsiColor::Cyan)),
        Level::Warning => ("warning", fg(AnsiColor::Yellow)),
        Level::Error => ("error", fg(AnsiColor::Red)),
    };
    let reason = if note.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", escape::visible(&note.reason))
    };
    format!(
        "{} {}{reason}",
        paint(color, style.bold(), &format!("{word}:")),
        escape::visible(&note.message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        Script {
            name: "demo.sql".into(),
            text: "select 1;\nselect 上海 form t;\n".into(),
        }
    }

    fn error(line: u32, column: u32) -> StatementEnd {
        let error = StatementError {
            message: "syntax error at or near \"form\"".into(),
            code: "42601".into(),
            hint: "Did you mean FROM?".into(),
            line,
            column,
            ..Default::default()
        };
        StatementEnd {
            error: Some(error),
            ..Default::default()
        }
    }

    #[test]
    fn an_error_points_at_its_place_also_behind_wide_characters() {
        assert_eq!(
            end(&error(2, 11), 2, &script(), false),
            "error: syntax error at or near \"form\" (42601)\n  at demo.sql:2:11\n2 │ select 上海 form t;\n  │             ^\nhint: Did you mean FROM?"
        );
    }

    #[test]
    fn without_a_place_the_statement_s_own_line_is_named() {
        let shown = end(&error(0, 0), 2, &script(), false);
        assert!(shown.contains("at demo.sql:2\n2 │ select"), "{shown}");
        assert!(!shown.contains('^'));
    }

    #[test]
    fn a_place_outside_the_script_is_no_panic() {
        let shown = end(&error(99, 99), 1, &script(), false);
        assert!(shown.contains("demo.sql:99:99"), "{shown}");
        let long = Script {
            name: String::new(),
            text: "x".repeat(10_000),
        };
        let shown = end(&error(1, 5_000), 1, &long, false);
        assert!(shown.chars().count() < 500, "{}", shown.chars().count());
        let caret = shown.lines().find(|line| line.ends_with('^')).unwrap().chars().count();
        assert!(caret > 10 && caret < 80, "{caret}");
    }

    #[test]
    fn success_is_one_line() {
        let ok = StatementEnd {
            tag: "INSERT".into(),
            rows_affected: Some(5),
            elapsed_us: 12_000,
            ..Default::default()
        };
        assert_eq!(end(&ok, 1, &script(), false), "INSERT · 5 rows affected · 12 ms");
        let select = StatementEnd {
            tag: "SELECT".into(),
            rows_returned: 2,
            elapsed_us: 900,
            ..Default::default()
        };
        assert_eq!(end(&select, 1, &script(), false), "SELECT · 2 rows · 900 µs");
    }
}
