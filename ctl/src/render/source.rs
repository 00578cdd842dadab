//! What a screen remembers of one agent, and how one of its lines is written.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
};

use opslink::event::{Stream, TableHeader};

use crate::render::{
    Look, PerStream,
    escape::Filter,
    fold::Gathered,
    grid::Grid,
    lines::{Assembler, Piece},
    prefix::Prefix,
    rows::JsonKeys,
    sink::{Sink, sink},
};

/// One stream of one agent.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Lines in the making.
    pub(super) assembler: Assembler,
    /// Keeps a terminal safe.
    pub(super) filter: Filter,
    /// Time of the first byte of the line in the making.
    pub(super) time_us: Option<i64>,
}

impl Lane {
    /// Says whether a line waits for its end.
    pub(super) const fn is_waiting(&self) -> bool {
        self.assembler.is_waiting()
    }
}

/// The result set that an agent is sending.
#[derive(Debug)]
pub(super) struct Table {
    /// For people.
    pub(super) grid: Grid,
    /// For JSON.
    pub(super) keys: JsonKeys,
    /// Whether a batch came.
    pub(super) has_rows: bool,
}

impl Table {
    /// Prepares for its rows.
    pub(super) fn new(header: TableHeader, agent: Option<&str>, color: bool) -> Self {
        Self {
            keys: JsonKeys::new(agent, &header),
            grid: Grid::new(header, color),
            has_rows: false,
        }
    }

    /// Says whether nothing of it was shown.
    pub(super) const fn is_new(&self) -> bool {
        !self.has_rows
    }
}

/// One agent.
pub(super) struct Source {
    /// Its name.
    pub(super) agent: String,
    /// What stands before its lines.
    pub(super) prefixes: PerStream<Prefix>,
    /// Its streams.
    pub(super) lanes: PerStream<Lane>,
    /// First line of each statement at work.
    pub(super) statements: HashMap<u32, u32>,
    /// The result set at work.
    pub(super) table: Option<Table>,
    /// Rows that have not come whole.
    pub(super) joiner: opslink::rows::Joiner,
    /// Its files, with `--output-dir`.
    files: Option<PerStream<Sink>>,
    /// What it said until now, with `--fold`.
    pub(super) gathered: Option<PerStream<Gathered>>,
}

impl Source {
    /// Meets an agent for the first time.
    pub(super) fn new(agent: &str, look: &Look) -> io::Result<Self> {
        let prefix = |color| {
            if look.many {
                Prefix::new(agent, look.name_width, color)
            } else {
                Prefix::default()
            }
        };
        let files = match &look.folder {
            Some(folder) => {
                let file = |ending: &str| File::create(folder.join(file_name(agent, ending))).map(sink);
                Some(PerStream {
                    out: file("out")?,
                    err: file("err")?,
                })
            }
            None => None,
        };
        Ok(Self {
            agent: agent.to_owned(),
            prefixes: PerStream {
                out: prefix(look.color.out),
                err: prefix(look.color.err),
            },
            lanes: PerStream::default(),
            statements: HashMap::new(),
            table: None,
            joiner: opslink::rows::Joiner::default(),
            files,
            gathered: look.fold.then(|| PerStream {
                out: Gathered::new(),
                err: Gathered::new(),
            }),
        })
    }

    /// Says whether what it says is shown at once.
    pub(super) const fn is_live(&self) -> bool {
        self.files.is_none() && self.gathered.is_none()
    }

    /// Returns where a stream is kept, if it is not shown at once.
    pub(super) fn kept(&mut self, stream: Stream) -> Option<&mut dyn Write> {
        if let Some(files) = &mut self.files {
            return Some(files.of_mut(stream));
        }
        let gathered = self.gathered.as_mut()?;
        Some(gathered.of_mut(stream))
    }
}

/// An agent's name is safe by its grammar; a cloud that breaks it must not write elsewhere.
fn file_name(agent: &str, ending: &str) -> String {
    let safe: String = agent
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let safe = safe.trim_start_matches('.');
    format!("{}.{ending}", if safe.is_empty() { "agent" } else { safe })
}

/// Writes a line, or a part of one, as one line on the screen.
pub(super) fn write_piece(
    sink: &mut Sink,
    prefix: &Prefix,
    time_us: Option<i64>,
    neutral: bool,
    piece: Piece<'_>,
) -> io::Result<()> {
    sink.write_all(if piece.continues { &prefix.rest } else { &prefix.line })?;
    if let Some(time_us) = time_us {
        sink.write_all(stamp(time_us).as_bytes())?;
    }
    if neutral {
        let mut safe = Vec::with_capacity(piece.bytes.len());
        // CR LF is a line end; a lone CR would go back over the prefix.
        let bytes = piece.bytes.strip_suffix(b"\r").unwrap_or(piece.bytes);
        let mut filter = Filter::default();
        for (index, part) in bytes.split(|byte| *byte == b'\r').enumerate() {
            if index > 0 {
                safe.extend_from_slice("␍".as_bytes());
            }
            filter.push(part, &mut safe);
        }
        filter.finish(&mut safe);
        sink.write_all(&safe)?;
        if safe.contains(&0x1b) {
            // A colour left on would paint the next agent's line.
            sink.write_all(b"\x1b[0m")?;
        }
    } else {
        sink.write_all(piece.bytes)?;
    }
    sink.write_all(b"\n")
}

/// Writes a time of the agent's clock, in UTC: lines of several agents and zones compare.
fn stamp(time_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(time_us) {
        Ok(time) => format!("{time:.3} "),
        Err(_) => "????-??-??T??:??:??Z ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_their_folder() {
        assert_eq!(file_name("web-1.bj", "out"), "web-1.bj.out");
        assert_eq!(file_name("../../etc/passwd", "out"), "_.._etc_passwd.out");
        assert_eq!(file_name("..", "err"), "agent.err");
    }

    #[test]
    fn stamps_are_utc_with_milliseconds() {
        assert_eq!(stamp(1_763_800_000_123_456), "2025-11-22T08:26:40.123Z ");
    }
}
