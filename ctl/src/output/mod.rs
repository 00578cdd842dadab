//! Lists and single objects on stdout, in the format that was asked for.

mod table;
mod words;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use table::{Column, csv_cell, tsv_cell};
pub(crate) use words::{ago, labels, list, role, state, task_state, time, until};

use crate::{failure::Failure, render::escape, terminal};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For people with a wide screen.
    Wide,
    /// Protobuf's JSON: one array or object.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// YAML.
    Yaml,
    /// Comma separated, RFC 4180.
    Csv,
    /// Tab separated, with backslash escapes.
    Tsv,
    /// Names only, one per line.
    Name,
}

/// How a list is to be printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    /// The format.
    pub(crate) format: Format,
    /// Whether tables, csv and tsv begin with a header line.
    pub(crate) headers: bool,
}

impl Listing {
    /// Prints a list. An empty one is `[]` in JSON and only a header in a table.
    pub(crate) fn list<T: Serialize>(
        self,
        items: &[T],
        name: impl Fn(&T) -> String,
        columns: &[Column<T>],
    ) -> Result<(), Failure> {
        let mut out = Vec::with_capacity(4096);
        match self.format {
            Format::Json => json(&mut out, &items)?,
            Format::Jsonl => items.iter().try_for_each(|item| json_line(&mut out, item))?,
            Format::Yaml => yaml(&mut out, &items)?,
            Format::Name => items
                .iter()
                .for_each(|item| out.extend_from_slice(format!("{}\n", name(item)).as_bytes())),
            Format::Table | Format::Wide => {
                table::aligned(&mut out, items, columns, self.format == Format::Wide, self.headers);
            }
            Format::Csv => table::separated(&mut out, items, columns, self.headers, table::csv_cell, b','),
            Format::Tsv => table::separated(&mut out, items, columns, self.headers, table::tsv_cell, b'\t'),
        }
        print(&shown(out, terminal::stdout_is_tty()))
    }

    /// Prints one object; in a table as lines of `name  value`.
    pub(crate) fn object<T: Serialize>(
        self,
        item: &T,
        name: impl Fn(&T) -> String,
        columns: &[Column<T>],
    ) -> Result<(), Failure> {
        let mut out = Vec::new();
        match self.format {
            Format::Json => json(&mut out, item)?,
            Format::Jsonl => json_line(&mut out, item)?,
            Format::Yaml => yaml(&mut out, item)?,
            Format::Table | Format::Wide => table::card(&mut out, item, columns),
            Format::Name | Format::Csv | Format::Tsv => return self.list(std::slice::from_ref(item), name, columns),
        }
        print(&shown(out, terminal::stdout_is_tty()))
    }
}

/// A list or an object as it is printed: for a program its very bytes; on a terminal what an agent reports of itself, or a
/// cloud says, is shown and never obeyed, whatever the format.
fn shown(out: Vec<u8>, on_terminal: bool) -> Vec<u8> {
    if on_terminal {
        escape::plain(&String::from_utf8_lossy(&out)).into_bytes()
    } else {
        out
    }
}

/// Writes data to stdout; on a terminal with nothing that it would obey but colours. A reader that went away has had enough:
/// that is no failure.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let on_terminal;
    let bytes = if terminal::stdout_is_tty() {
        on_terminal = escape::colored(&String::from_utf8_lossy(bytes));
        on_terminal.as_slice()
    } else {
        bytes
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::local(
            crate::exit::Exit::Unexpected,
            "OUTPUT_NOT_WRITTEN",
            &[("detail", &error.to_string())],
        )),
        _ => Ok(()),
    }
}

fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|error| Failure::unexpected(&error.to_string()))?;
    out.push(b'\n');
    Ok(())
}

fn json_line<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(|error| Failure::unexpected(&error.to_string()))?;
    out.push(b'\n');
    Ok(())
}

fn yaml<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    // Through JSON: protobuf's JSON is what is documented, and YAML shows the same.
    let value = serde_json::to_value(value).map_err(|error| Failure::unexpected(&error.to_string()))?;
    let text = serde_saphyr::to_string(&value).map_err(|error| Failure::unexpected(&error.to_string()))?;
    out.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        out.push(b'\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_an_empty_array() {
        let mut out = Vec::new();
        json(&mut out, &Vec::<String>::new()).unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn what_agents_report_reaches_programs_as_it_is_and_no_terminal() {
        let agent = opslink::pb::Agent {
            name: "web\x1b]0;owned\x07\u{9b}2J\u{7f}".into(),
            ..Default::default()
        };
        let columns = [Column::new("NAME", |agent: &opslink::pb::Agent| agent.name.clone())];
        let (mut csv, mut as_yaml, mut as_json) = (Vec::new(), Vec::new(), Vec::new());
        table::separated(
            &mut csv,
            std::slice::from_ref(&agent),
            &columns,
            true,
            table::csv_cell,
            b',',
        );
        yaml(&mut as_yaml, &agent).unwrap();
        json_line(&mut as_json, &agent).unwrap();
        for out in [csv, as_yaml, as_json] {
            assert_eq!(shown(out.clone(), false), out);
            let text = String::from_utf8(shown(out, true)).unwrap();
            assert!(!text.contains(|c: char| c != '\n' && c.is_control()), "{text:?}");
        }
    }

    #[test]
    fn yaml_shows_what_json_shows() {
        let mut out = Vec::new();
        let agent = opslink::pb::Agent {
            name: "prod".into(),
            status: 1,
            ..Default::default()
        };
        yaml(&mut out, &[agent]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("name: prod") && text.contains("AGENT_STATUS_ONLINE"),
            "{text}"
        );
    }
}
