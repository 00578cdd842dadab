//! Columns: aligned for people, separated for programs.

use comfy_table::{ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr;

use crate::{render::escape, text::text};

/// One column of a list of `T`.
pub(crate) struct Column<T> {
    /// Header: `NAME`.
    pub(crate) header: &'static str,
    /// Shown in `wide` and in csv, tsv and cards only.
    pub(crate) wide: bool,
    /// The cell: one word for programs in every language.
    pub(crate) cell: fn(&T) -> String,
    /// The cell for people, when it is another.
    people: Option<fn(&T) -> String>,
}

impl<T> Column<T> {
    /// A column that is always there.
    pub(crate) const fn new(header: &'static str, cell: fn(&T) -> String) -> Self {
        Self {
            header,
            wide: false,
            cell,
            people: None,
        }
    }

    /// A column for wide screens.
    pub(crate) const fn wide(header: &'static str, cell: fn(&T) -> String) -> Self {
        Self {
            header,
            wide: true,
            cell,
            people: None,
        }
    }

    /// The same column with other words for people, in their language.
    pub(crate) const fn people(mut self, cell: fn(&T) -> String) -> Self {
        self.people = Some(cell);
        self
    }

    /// What is reported from elsewhere is shown, never obeyed.
    fn shown(&self, item: &T) -> String {
        escape::visible(&self.people.unwrap_or(self.cell)(item))
    }

    fn title(&self) -> String {
        text(
            &format!("column-{}", self.header.to_ascii_lowercase().replace(' ', "-")),
            &[],
        )
    }
}

/// Writes aligned columns without lines, two spaces apart. A column that says nothing about any item is left out.
pub(super) fn aligned<T>(out: &mut Vec<u8>, items: &[T], columns: &[Column<T>], wide: bool, headers: bool) {
    let says_something =
        |column: &Column<T>| items.is_empty() || items.iter().any(|item| !(column.cell)(item).is_empty());
    let shown: Vec<&Column<T>> = columns
        .iter()
        .filter(|column| (wide || !column.wide) && says_something(column))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if headers {
        table.set_header(shown.iter().map(|column| column.title()));
    }
    for item in items {
        table.add_row(shown.iter().map(|column| column.shown(item)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Writes one object as `header  value` lines; what is not there has no line.
pub(super) fn card<T>(out: &mut Vec<u8>, item: &T, columns: &[Column<T>]) {
    let lines: Vec<(String, String)> = columns
        .iter()
        .map(|column| (column.title(), column.shown(item)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let width = lines.iter().map(|(title, _)| title.width()).max().unwrap_or_default();
    for (title, value) in lines {
        let pad = " ".repeat(width.saturating_sub(title.width()));
        out.extend_from_slice(format!("{title}{pad}  {value}").trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Writes separated values; every column, also the wide ones.
pub(super) fn separated<T>(
    out: &mut Vec<u8>,
    items: &[T],
    columns: &[Column<T>],
    headers: bool,
    cell: fn(&mut Vec<u8>, &[u8]),
    separator: u8,
) {
    let mut row = |cells: &mut dyn Iterator<Item = String>| {
        for (index, value) in cells.enumerate() {
            if index > 0 {
                out.push(separator);
            }
            cell(out, value.as_bytes());
        }
        out.push(b'\n');
    };
    if headers {
        row(&mut columns
            .iter()
            .map(|column| column.header.to_ascii_lowercase().replace(' ', "_")));
    }
    for item in items {
        row(&mut columns.iter().map(|column| (column.cell)(item)));
    }
}

/// Writes a cell of RFC 4180: quoted only when it must be.
pub(crate) fn csv_cell(out: &mut Vec<u8>, cell: &[u8]) {
    let must_quote = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !cell.iter().any(must_quote) {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    let mut rest = cell;
    while let Some(at) = memchr::memchr(b'"', rest) {
        let (before, after) = rest.split_at(at + 1);
        out.extend_from_slice(before);
        out.push(b'"');
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Writes a cell of tab separated values, as PostgreSQL's COPY does: `\t`, `\n`, `\r` and `\\` are escaped.
pub(crate) fn tsv_cell(out: &mut Vec<u8>, cell: &[u8]) {
    for byte in cell {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column<(&'static str, &'static str)>> {
        vec![
            Column::new("NAME", |item: &(&str, &str)| item.0.into()),
            Column::wide("NOTE", |item| item.1.into()),
        ]
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_also_with_wide_characters() {
        let items = [("上海", "x"), ("prod", "y")];
        let shown = text(|out| aligned(out, &items, &columns(), true, true));
        assert_eq!(shown, "NAME  NOTE\n上海  x\nprod  y\n");
    }

    #[test]
    fn what_is_empty_has_neither_line_nor_column() {
        let items = [("prod", "")];
        assert_eq!(text(|out| aligned(out, &items, &columns(), true, true)), "NAME\nprod\n");
        assert_eq!(text(|out| card(out, &items[0], &columns())), "NAME  prod\n");
        let separated = text(|out| separated(out, &items, &columns(), true, csv_cell, b','));
        assert_eq!(separated, "name,note\nprod,\n", "programs count on every column");
    }

    #[test]
    fn people_and_programs_may_get_different_words() {
        let columns = [Column::new("STATE", |item: &(&str, &str)| item.0.into()).people(|item| item.1.into())];
        let items = [("succeeded", "成功")];
        assert_eq!(text(|out| aligned(out, &items, &columns, false, false)), "成功\n");
        assert_eq!(
            text(|out| separated(out, &items, &columns, false, csv_cell, b',')),
            "succeeded\n"
        );
    }

    #[test]
    fn an_escape_sequence_in_a_cell_stays_text() {
        let items = [("\x1b]0;owned\x07", "x")];
        let shown = text(|out| aligned(out, &items, &columns(), false, false));
        assert!(!shown.contains('\x1b') && !shown.contains('\x07'), "{shown:?}");
    }

    #[test]
    fn an_empty_list_still_says_its_columns() {
        let items: [(&str, &str); 0] = [];
        assert_eq!(text(|out| aligned(out, &items, &columns(), false, true)), "NAME\n");
    }

    #[test]
    fn csv_quotes_what_must_be_quoted() {
        let items = [("a,b", "say \"x\""), ("plain", "two\nlines")];
        let shown = text(|out| separated(out, &items, &columns(), true, csv_cell, b','));
        assert_eq!(shown, "name,note\n\"a,b\",\"say \"\"x\"\"\"\nplain,\"two\nlines\"\n");
    }

    #[test]
    fn tsv_keeps_one_row_on_one_line() {
        let items = [("a\tb\nc", "\\")];
        assert_eq!(
            text(|out| separated(out, &items, &columns(), false, tsv_cell, b'\t')),
            "a\\tb\\nc\t\\\\\n"
        );
    }
}
