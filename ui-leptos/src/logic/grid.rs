//! A result set as the page holds it: column by column, capped, sortable.

use std::cmp::Ordering;

use opslink::event::{ColumnKind, TableHeader, TableRows};

use super::csv;

/// Rows kept of one result set; the rest is counted. The API and `cloudctl` give all of them.
pub const MAX_ROWS: usize = 50_000;
/// Bytes of text kept of one result set.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

const NULL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    start: u32,
    len: u32,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The database's own name of its type.
    pub type_name: String,
    /// How it is shown and sorted.
    pub kind: ColumnKind,
    text: String,
    cells: Vec<Cell>,
}

impl Column {
    /// A cell; `None` is NULL, or past the end.
    pub fn cell(&self, row: usize) -> Option<&str> {
        let cell = self.cells.get(row)?;
        if cell.len == NULL {
            return None;
        }
        self.text.get(cell.start as usize..(cell.start + cell.len) as usize)
    }
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// Index of the column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
}

/// One result set.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Its number in the attempt.
    pub table: u32,
    /// The statement that made it.
    pub statement: u32,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Rows held.
    pub rows: usize,
    /// Rows that came, held or not.
    pub total: u64,
    bytes: usize,
}

impl Grid {
    /// An empty result set.
    pub fn new(header: &TableHeader) -> Self {
        let column = |column: &opslink::event::TableColumn| Column {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            kind: column.kind,
            text: String::new(),
            cells: Vec::new(),
        };
        Self {
            table: header.table,
            statement: header.statement,
            columns: header.columns.iter().map(column).collect(),
            rows: 0,
            total: 0,
            bytes: 0,
        }
    }

    /// Takes a batch of rows.
    pub fn push(&mut self, batch: &TableRows) {
        self.total += u64::from(batch.row_count);
        if self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES {
            return;
        }
        let take = (batch.row_count as usize).min(MAX_ROWS - self.rows);
        for (column, data) in self.columns.iter_mut().zip(&batch.columns) {
            let before = column.text.len();
            for cell in data.cells().take(take) {
                let start = u32::try_from(column.text.len()).unwrap_or(NULL);
                let len = match cell {
                    None => NULL,
                    Some(bytes) => {
                        column.text.push_str(&String::from_utf8_lossy(bytes));
                        u32::try_from(column.text.len()).unwrap_or(NULL) - start
                    }
                };
                column.cells.push(Cell { start, len });
            }
            self.bytes += column.text.len() - before;
        }
        self.rows += take;
    }

    /// True when rows came that are not held.
    pub fn is_cut(&self) -> bool {
        self.total > self.rows as u64
    }

    /// The rows in this order; NULL comes last.
    pub fn order(&self, sort: Option<Sort>) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..u32::try_from(self.rows).unwrap_or(u32::MAX)).collect();
        let Some(sort) = sort else { return rows };
        let Some(column) = self.columns.get(sort.column) else {
            return rows;
        };
        let compare = |a: &str, b: &str| match column.kind {
            ColumnKind::Number => numbers(a, b),
            // SQLite has no type for what is computed: values are what they look like.
            ColumnKind::Text if column.type_name == "NULL" => numbers(a, b),
            ColumnKind::Text | ColumnKind::Bool | ColumnKind::Time | ColumnKind::Json | ColumnKind::Bytes => a.cmp(b),
        };
        super::order::indexes(
            &mut rows,
            &|a, b| match (column.cell(a as usize), column.cell(b as usize)) {
                (Some(a), Some(b)) if sort.descending => compare(b, a),
                (Some(a), Some(b)) => compare(a, b),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
            },
        );
        rows
    }

    /// The held rows in this order as CSV with a header.
    pub fn csv(&self, order: &[u32]) -> String {
        let mut out = String::new();
        csv::record(&mut out, self.columns.iter().map(|column| Some(column.name.as_str())));
        for row in order {
            csv::record(&mut out, self.columns.iter().map(|column| column.cell(*row as usize)));
        }
        out
    }

    /// Columns that each column wants, from its name and its first rows.
    pub fn widths(&self) -> Vec<usize> {
        let text_width = |text: &str| text.chars().take(60).map(super::rows::width).sum::<usize>();
        self.columns
            .iter()
            .map(|column| {
                let widest = (0..self.rows.min(200))
                    .filter_map(|row| column.cell(row))
                    .map(text_width)
                    .max();
                widest
                    .unwrap_or(0)
                    .max(text_width(&column.name) + 2)
                    .max(text_width(&column.type_name))
                    .clamp(6, 48)
            })
            .collect()
    }
}

fn numbers(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x
            .total_cmp(&y)
            .then_with(|| a.len().cmp(&b.len()))
            .then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use opslink::event::{ColumnData, TableColumn};

    use super::*;

    fn column(cells: &[Option<&str>]) -> ColumnData {
        let mut data = ColumnData::default();
        let mut text = String::new();
        for cell in cells {
            data.lengths.push(cell.map_or(0, |cell| cell.len() as u32 + 1));
            text.push_str(cell.unwrap_or_default());
        }
        data.text = Bytes::from(text);
        data
    }

    fn grid() -> Grid {
        let header = |name: &str, kind| TableColumn {
            name: name.into(),
            type_name: "x".into(),
            kind,
        };
        let mut grid = Grid::new(&TableHeader {
            table: 0,
            statement: 0,
            columns: vec![header("id", ColumnKind::Number), header("name", ColumnKind::Text)],
        });
        grid.push(&TableRows {
            table: 0,
            row_count: 4,
            columns: vec![
                column(&[Some("10"), Some("9"), None, Some("-1")]),
                column(&[Some("b"), Some(""), Some("a,c"), None]),
            ],
        });
        grid
    }

    #[test]
    fn numbers_sort_as_numbers_and_null_comes_last() {
        let grid = grid();
        assert_eq!(
            grid.order(Some(Sort {
                column: 0,
                descending: false
            })),
            [3, 1, 0, 2]
        );
        assert_eq!(
            grid.order(Some(Sort {
                column: 0,
                descending: true
            })),
            [0, 1, 3, 2]
        );
        assert_eq!(grid.order(None), [0, 1, 2, 3]);
    }

    #[test]
    fn computed_columns_sort_by_value() {
        let mut grid = grid();
        let by_name = |grid: &Grid, descending| grid.order(Some(Sort { column: 1, descending }));
        grid.push(&TableRows {
            table: 0,
            row_count: 3,
            columns: vec![
                column(&[None, None, None]),
                column(&[Some("10"), Some("9"), Some("-2.5")]),
            ],
        });
        assert_eq!(by_name(&grid, false), [1, 6, 4, 5, 2, 0, 3], "a column of text");
        grid.columns[1].type_name = "NULL".into();
        assert_eq!(by_name(&grid, false), [6, 5, 4, 1, 2, 0, 3], "a computed one");
        assert_eq!(by_name(&grid, true), [0, 2, 1, 4, 5, 6, 3]);
    }

    #[test]
    fn null_is_not_empty_text() {
        let grid = grid();
        assert_eq!((grid.columns[1].cell(1), grid.columns[1].cell(3)), (Some(""), None));
        assert_eq!(grid.csv(&[1, 3]), "id,name\r\n9,\"\"\r\n-1,\r\n");
    }

    #[test]
    fn rows_past_the_cap_are_counted() {
        let mut grid = grid();
        let many: Vec<_> = (0..30_000).map(|_| Some("1")).collect();
        for _ in 0..2 {
            grid.push(&TableRows {
                table: 0,
                row_count: 30_000,
                columns: vec![column(&many), column(&many)],
            });
        }
        assert_eq!((grid.rows, grid.total, grid.is_cut()), (MAX_ROWS, 60_004, true));
        assert_eq!(grid.columns[1].cell(MAX_ROWS - 1), Some("1"));
    }
}
