//! Rows of SQL for programs: csv, tsv, json, jsonl. Column batches become rows without an allocation per cell.

use std::io::{self, Write};

use opslink::event::{ColumnData, ColumnKind, TableHeader, TableRows};

use crate::output::{csv_cell, tsv_cell};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// Aligned columns for people.
    Table,
    /// RFC 4180; NULL is nothing, an empty text is `""`.
    Csv,
    /// As PostgreSQL's COPY: NULL is `\N`.
    Tsv,
    /// One array of objects.
    Json,
    /// One object per line.
    Jsonl,
}

/// Writes one cell.
type WriteCell = fn(&mut Vec<u8>, &[u8]);

/// Walks a batch row by row.
pub(crate) struct Cursor<'a> {
    columns: Vec<(&'a [u8], std::slice::Iter<'a, u32>)>,
    rows_left: u32,
}

impl<'a> Cursor<'a> {
    /// Starts before the first row.
    pub(crate) fn new(rows: &'a TableRows) -> Self {
        let column = |data: &'a ColumnData| (data.text.as_ref(), data.lengths.iter());
        Self {
            columns: rows.columns.iter().map(column).collect(),
            rows_left: rows.row_count,
        }
    }

    /// Hands out the cells of the next row, in column order; `None` is NULL. False after the last row.
    #[inline]
    pub(crate) fn next_row(&mut self, mut cell: impl FnMut(usize, Option<&'a [u8]>)) -> bool {
        let Some(left) = self.rows_left.checked_sub(1) else {
            return false;
        };
        self.rows_left = left;
        for (index, (text, lengths)) in self.columns.iter_mut().enumerate() {
            let value = match lengths.next().and_then(|length| length.checked_sub(1)) {
                Some(length) => text.split_at_checked(length as usize).map(|(value, rest)| {
                    *text = rest;
                    value
                }),
                None => None,
            };
            cell(index, value);
        }
        true
    }
}

/// Writes the header of a table.
pub(crate) fn header(out: &mut Vec<u8>, format: RowFormat, agent: Option<&str>, header: &TableHeader) {
    let (cell, separator) = match format {
        RowFormat::Csv => (csv_cell as WriteCell, b','),
        RowFormat::Tsv => (tsv_cell as WriteCell, b'\t'),
        RowFormat::Table | RowFormat::Json | RowFormat::Jsonl => return,
    };
    let names = agent
        .map(|_| "agent")
        .into_iter()
        .chain(header.columns.iter().map(|column| column.name.as_str()));
    for (index, name) in names.enumerate() {
        if index > 0 {
            out.push(separator);
        }
        cell(out, name.as_bytes());
    }
    out.push(b'\n');
}

/// Writes a batch as separated values.
pub(crate) fn separated(out: &mut Vec<u8>, format: RowFormat, agent: Option<&str>, rows: &TableRows) {
    let csv = format == RowFormat::Csv;
    let separator = if csv { b',' } else { b'\t' };
    let mut cursor = Cursor::new(rows);
    loop {
        let start = out.len();
        if let (Some(agent), true) = (agent, rows.row_count > 0) {
            out.extend_from_slice(agent.as_bytes());
        }
        let more = cursor.next_row(|index, value| {
            if index > 0 || agent.is_some() {
                out.push(separator);
            }
            match value {
                Some(value) if csv => {
                    if value.is_empty() {
                        out.extend_from_slice(b"\"\"");
                    } else {
                        csv_cell(out, value);
                    }
                }
                Some(value) => tsv_cell(out, value),
                None if csv => {}
                None => out.extend_from_slice(b"\\N"),
            }
        });
        if !more {
            out.truncate(start);
            return;
        }
        out.push(b'\n');
    }
}

/// The keys of a table's objects, escaped once.
#[derive(Debug, Default)]
pub(crate) struct JsonKeys {
    columns: Vec<(Vec<u8>, ColumnKind)>,
    agent: Vec<u8>,
}

impl JsonKeys {
    /// Prepares `"name":` for each column; a name that was there gets a number.
    pub(crate) fn new(agent: Option<&str>, header: &TableHeader) -> Self {
        let mut seen: Vec<String> = agent.map(|_| "agent".to_owned()).into_iter().collect();
        let columns = header.columns.iter().map(|column| {
            let mut name = column.name.clone();
            let mut number = 2;
            while seen.contains(&name) {
                name = format!("{}_{number}", column.name);
                number += 1;
            }
            let mut key = json_string(&name);
            key.push(b':');
            seen.push(name);
            (key, column.kind)
        });
        let columns = columns.collect();
        let agent = agent
            .map(|agent| [b"\"agent\":".to_vec(), json_string(agent)].concat())
            .unwrap_or_default();
        Self { columns, agent }
    }

    /// Writes a batch; `first` says whether no object was written before, and is cleared.
    pub(crate) fn rows(&self, out: &mut Vec<u8>, format: RowFormat, rows: &TableRows, first: &mut bool) {
        let mut cursor = Cursor::new(rows);
        loop {
            let start = out.len();
            if format == RowFormat::Json {
                out.extend_from_slice(if *first { b"[\n" } else { b",\n" });
            }
            out.push(b'{');
            out.extend_from_slice(&self.agent);
            let has_agent = !self.agent.is_empty();
            let more = cursor.next_row(|index, value| {
                let Some((key, kind)) = self.columns.get(index) else {
                    return;
                };
                if index > 0 || has_agent {
                    out.push(b',');
                }
                out.extend_from_slice(key);
                json_value(out, *kind, value);
            });
            if !more {
                out.truncate(start);
                return;
            }
            *first = false;
            out.push(b'}');
            if format == RowFormat::Jsonl {
                out.push(b'\n');
            }
        }
    }
}

/// Ends the array of [`RowFormat::Json`].
pub(crate) fn json_end(out: &mut impl Write, first: bool) -> io::Result<()> {
    out.write_all(if first { b"[]\n" } else { b"\n]\n" })
}

fn json_string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec())
}

fn json_value(out: &mut Vec<u8>, kind: ColumnKind, value: Option<&[u8]>) {
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    let plain = match kind {
        ColumnKind::Number => is_json_number(value),
        // PostgreSQL's letters; MySQL's BOOLEAN is a number and stays one.
        ColumnKind::Bool => match value {
            b"t" | b"true" => return out.extend_from_slice(b"true"),
            b"f" | b"false" => return out.extend_from_slice(b"false"),
            _ => is_json_number(value),
        },
        ColumnKind::Json => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok(),
        ColumnKind::Text | ColumnKind::Time | ColumnKind::Bytes => false,
    };
    if plain {
        out.extend_from_slice(value);
    } else {
        // Writing to memory cannot fail; text of the wire is UTF-8, and what is not is shown as such.
        let _ = serde_json::to_writer(out, &*String::from_utf8_lossy(value));
    }
}

/// Says whether the text is a number in JSON's own grammar: `1`, `-2.5`, `1e9`; not `NaN`, `.5` or `007`.
fn is_json_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let leading_zero = digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit);
    let simple = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if simple {
        return !leading_zero;
    }
    // serde_json allows blanks around a value; a number of the database has none.
    let solid = digits.first().is_some_and(u8::is_ascii_digit) && digits.last().is_some_and(u8::is_ascii_digit);
    solid && serde_json::from_slice::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use opslink::event::TableColumn;

    use super::*;

    pub(super) fn column(name: &str, kind: ColumnKind) -> TableColumn {
        TableColumn {
            name: name.into(),
            type_name: String::new(),
            kind,
        }
    }

    fn data(cells: &[Option<&str>]) -> ColumnData {
        ColumnData {
            text: cells.iter().flatten().copied().collect::<String>().into(),
            lengths: cells
                .iter()
                .map(|cell| cell.map_or(0, |cell| u32::try_from(cell.len()).unwrap() + 1))
                .collect(),
        }
    }

    fn table() -> (TableHeader, TableRows) {
        let columns = vec![column("id", ColumnKind::Number), column("na\"me", ColumnKind::Text)];
        let header = TableHeader {
            table: 0,
            statement: 0,
            columns,
        };
        let columns = vec![
            data(&[Some("1"), Some("NaN"), None]),
            data(&[Some("a,b"), None, Some("")]),
        ];
        (
            header,
            TableRows {
                table: 0,
                row_count: 3,
                columns,
            },
        )
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn csv_tells_null_from_empty() {
        let (head, rows) = table();
        let mut out = Vec::new();
        header(&mut out, RowFormat::Csv, None, &head);
        separated(&mut out, RowFormat::Csv, None, &rows);
        assert_eq!(text(out), "id,\"na\"\"me\"\n1,\"a,b\"\nNaN,\n,\"\"\n");
    }

    #[test]
    fn tsv_is_what_copy_writes_and_many_agents_get_a_column() {
        let (head, rows) = table();
        let mut out = Vec::new();
        header(&mut out, RowFormat::Tsv, Some("prod"), &head);
        separated(&mut out, RowFormat::Tsv, Some("prod"), &rows);
        assert_eq!(
            text(out),
            "agent\tid\tna\"me\nprod\t1\ta,b\nprod\tNaN\t\\N\nprod\t\\N\t\n"
        );
    }

    #[test]
    fn json_is_one_array_over_all_batches() {
        let (head, rows) = table();
        let keys = JsonKeys::new(None, &head);
        let (mut out, mut first) = (Vec::new(), true);
        keys.rows(&mut out, RowFormat::Json, &rows, &mut first);
        keys.rows(&mut out, RowFormat::Json, &rows, &mut first);
        json_end(&mut out, first).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(parsed.as_array().unwrap().len(), 6);
        assert_eq!(parsed[0], serde_json::json!({"id": 1, "na\"me": "a,b"}));
        assert_eq!(parsed[1], serde_json::json!({"id": "NaN", "na\"me": null}));
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        let mut out = Vec::new();
        json_end(&mut out, true).unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn columns_of_one_name_stay_apart() {
        let columns = vec![
            column("x", ColumnKind::Number),
            column("x", ColumnKind::Number),
            column("agent", ColumnKind::Text),
        ];
        let keys = JsonKeys::new(
            Some("prod"),
            &TableHeader {
                table: 0,
                statement: 0,
                columns,
            },
        );
        let rows = TableRows {
            table: 0,
            row_count: 1,
            columns: vec![data(&[Some("1")]), data(&[Some("2")]), data(&[Some("3")])],
        };
        let mut out = Vec::new();
        keys.rows(&mut out, RowFormat::Jsonl, &rows, &mut true);
        assert_eq!(text(out), "{\"agent\":\"prod\",\"x\":1,\"x_2\":2,\"agent_2\":\"3\"}\n");
    }

    #[test]
    fn booleans_are_booleans_in_json() {
        let mut out = Vec::new();
        for value in ["t", "f", "true", "1", "maybe"] {
            json_value(&mut out, ColumnKind::Bool, Some(value.as_bytes()));
            out.push(b' ');
        }
        assert_eq!(text(out), "true false true 1 \"maybe\" ");
    }

    #[test]
    fn lengths_that_lie_become_null_and_never_a_panic() {
        let rows = TableRows {
            table: 0,
            row_count: 2,
            columns: vec![ColumnData {
                text: "ab".into(),
                lengths: vec![100],
            }],
        };
        let mut out = Vec::new();
        separated(&mut out, RowFormat::Tsv, None, &rows);
        assert_eq!(text(out), "\\N\n\\N\n");
    }

    #[test]
    fn numbers_are_numbers_only_in_json_s_own_grammar() {
        for number in ["0", "-1", "12345678901234567890123", "2.50", "1e9", "-0.1"] {
            assert!(is_json_number(number.as_bytes()), "{number}");
        }
        for text in ["", "-", "007", ".5", "NaN", "Infinity", "1 ", "+1", "0x10"] {
            assert!(!is_json_number(text.as_bytes()), "{text}");
        }
    }
}
