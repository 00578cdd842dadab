//! Rows of SQL for people: aligned columns, written as they come. The first batch of a table settles the widths; a wider
//! cell later moves its own row only. Nothing is ever cut.

use opslink::event::{ColumnKind, TableHeader, TableRows};
use unicode_width::UnicodeWidthStr;

use crate::render::{escape, rows::Cursor};

/// A column never reserves more than this; wider cells overflow.
const MAX_WIDTH: usize = 48;
/// Rows of the first batch that are measured.
const MEASURED_ROWS: usize = 1_000;

/// One table on the screen.
#[derive(Debug)]
pub(crate) struct Grid {
    header: TableHeader,
    widths: Option<Vec<usize>>,
    color: bool,
}

impl Grid {
    /// Makes a grid; nothing is written before its first rows or its end.
    pub(crate) const fn new(header: TableHeader, color: bool) -> Self {
        Self {
            header,
            widths: None,
            color,
        }
    }

    /// Writes a batch of rows, the header before the first.
    pub(crate) fn rows(&mut self, out: &mut Vec<u8>, rows: &TableRows) {
        self.begin(out, Some(rows));
        let widths = self.widths.as_deref().unwrap_or_default();
        let last = widths.len().saturating_sub(1);
        let (dim, reset) = if self.color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let mut cursor = Cursor::new(rows);
        let columns = &self.header.columns;
        while cursor.next_row(|index, value| {
            if index > 0 {
                out.extend_from_slice("│".as_bytes());
            }
            out.push(b' ');
            let null = value.is_none();
            let text = value.map_or_else(|| "NULL".to_owned(), cell_text);
            let pad = widths
                .get(index)
                .copied()
                .unwrap_or_default()
                .saturating_sub(text.width());
            let right = columns
                .get(index)
                .is_some_and(|column| column.kind == ColumnKind::Number)
                && !null;
            if right {
                out.resize(out.len() + pad, b' ');
            }
            if null {
                out.extend_from_slice(format!("{dim}{text}{reset}").as_bytes());
            } else {
                out.extend_from_slice(text.as_bytes());
            }
            if !right && index != last {
                out.resize(out.len() + pad, b' ');
            }
            if index != last {
                out.push(b' ');
            }
        }) {
            out.push(b'\n');
        }
    }

    /// Writes the header if no row came.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out, None);
    }

    fn begin(&mut self, out: &mut Vec<u8>, rows: Option<&TableRows>) {
        if self.widths.is_some() {
            return;
        }
        let names: Vec<String> = self
            .header
            .columns
            .iter()
            .map(|column| escape::visible(&column.name))
            .collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        if let Some(rows) = rows {
            let mut cursor = Cursor::new(rows);
            let mut measured = 0;
            while measured < MEASURED_ROWS
                && cursor.next_row(|index, value| {
                    let width = value.map_or(4, |value| cell_text(value).width());
                    if let Some(known) = widths.get_mut(index) {
                        *known = (*known).max(width.min(MAX_WIDTH));
                    }
                })
            {
                measured += 1;
            }
        }
        let (bold, reset) = if self.color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let last = widths.len().saturating_sub(1);
        for (index, (name, width)) in names.iter().zip(&widths).enumerate() {
            if index > 0 {
                out.extend_from_slice("│".as_bytes());
            }
            out.extend_from_slice(format!(" {bold}{name}{reset}").as_bytes());
            if index != last {
                out.resize(out.len() + width.saturating_sub(name.width()) + 1, b' ');
            }
        }
        out.push(b'\n');
        for (index, width) in widths.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice("┼".as_bytes());
            }
            out.extend_from_slice("─".repeat(width + 2).as_bytes());
        }
        out.push(b'\n');
        self.widths = Some(widths);
    }
}

fn cell_text(value: &[u8]) -> String {
    escape::visible(&String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use opslink::event::{ColumnData, TableColumn};

    use super::*;

    fn grid() -> Grid {
        let column = |name: &str, kind| TableColumn {
            name: name.into(),
            type_name: String::new(),
            kind,
        };
        let columns = vec![column("id", ColumnKind::Number), column("名字", ColumnKind::Text)];
        Grid::new(
            TableHeader {
                table: 0,
                statement: 0,
                columns,
            },
            false,
        )
    }

    fn rows(cells: &[(&str, Option<&str>)]) -> TableRows {
        let ids: Vec<&str> = cells.iter().map(|(id, _)| *id).collect();
        let names: Vec<Option<&str>> = cells.iter().map(|(_, name)| *name).collect();
        let lengths = |cells: &[Option<&str>]| {
            cells
                .iter()
                .map(|cell| cell.map_or(0, |cell| u32::try_from(cell.len()).unwrap() + 1))
                .collect()
        };
        let ids: Vec<Option<&str>> = ids.into_iter().map(Some).collect();
        let data = |cells: &[Option<&str>]| ColumnData {
            text: cells.iter().flatten().copied().collect::<String>().into(),
            lengths: lengths(cells),
        };
        TableRows {
            table: 0,
            row_count: u32::try_from(cells.len()).unwrap(),
            columns: vec![data(&ids), data(&names)],
        }
    }

    fn shown(grid: &mut Grid, batches: &[TableRows]) -> String {
        let mut out = Vec::new();
        for batch in batches {
            grid.rows(&mut out, batch);
        }
        grid.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_wide_characters_count_double() {
        let batch = rows(&[("1", Some("上海")), ("100", None)]);
        assert_eq!(
            shown(&mut grid(), &[batch]),
            " id  │ 名字\n─────┼──────\n   1 │ 上海\n 100 │ NULL\n"
        );
    }

    #[test]
    fn a_wider_cell_in_a_later_batch_is_shown_whole() {
        let text = shown(
            &mut grid(),
            &[rows(&[("1", Some("a"))]), rows(&[("123456", Some("b"))])],
        );
        assert!(text.ends_with(" 123456 │ b\n"), "{text}");
        assert_eq!(text.matches('┼').count(), 1);
    }

    #[test]
    fn an_empty_table_still_says_its_columns() {
        assert_eq!(shown(&mut grid(), &[]), " id │ 名字\n────┼──────\n");
    }

    #[test]
    fn a_hostile_cell_stays_one_line_of_text() {
        let text = shown(&mut grid(), &[rows(&[("1", Some("a\nb\x1b[2J"))])]);
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains('\x1b'));
    }
}
