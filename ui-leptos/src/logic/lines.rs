//! From an attempt's events to lines: output is cut anywhere by the process, people read lines.

use std::collections::VecDeque;

use opslink::{
    event::{Event, EventBody, Level, StatementEnd, Stream},
    task::Outcome,
};

use super::sgr::{self, Style};

/// Bytes of one line that are kept; the rest is counted. The download has all of it.
pub const LINE_BYTES: usize = 16 * 1024;

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Output of a stream.
    Output(Stream),
    /// A word of the runner or the executor.
    Note(Level),
    /// Output that was dropped on purpose, in bytes.
    Gap(u64),
    /// A statement begins, at this line of the script.
    Statement(u32),
    /// A statement ended.
    StatementEnd(Box<StatementEnd>),
    /// The attempt ended.
    End(Box<Outcome>),
}

/// One line of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When its first byte was written; never before the line above it.
    pub time_us: i64,
    /// What it is.
    pub kind: Kind,
    /// Its text, with SGR sequences and without its line end.
    pub text: String,
    /// The style that the line above left behind.
    pub style: Style,
    /// Bytes that were not kept.
    pub cut: usize,
    /// Its number in the attempt, from 0; absent while more of it can come, and for what is not output.
    pub number: Option<u64>,
    /// Its start lies before what was loaded.
    pub fragment: bool,
}

impl Line {
    fn new(time_us: i64, kind: Kind, text: String) -> Self {
        Self {
            time_us,
            kind,
            text,
            style: Style::default(),
            cut: 0,
            number: None,
            fragment: false,
        }
    }

    fn is_unfinished(&self) -> bool {
        self.number.is_none() && matches!(self.kind, Kind::Output(_))
    }
}

/// The unfinished line of one stream.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    cut: usize,
    /// A carriage return was the last byte: a line feed ends the line, anything else starts it anew.
    returned: bool,
    style: Style,
    /// The next line's start was not seen.
    fragment: bool,
}

/// Lines of one attempt, in the order in which they ended: the order of their numbers. Unfinished ones, at most one a
/// stream, come last.
#[derive(Debug, Default)]
pub struct Lines {
    lines: VecDeque<Line>,
    /// Place of the oldest that is held: places count from the first line ever pushed, and are negative before it.
    first: i64,
    bytes: usize,
    next_number: u64,
    stdout: Open,
    stderr: Open,
    last_time: i64,
}

impl Lines {
    /// Starts in the middle of an attempt: at this line, whose start may not have been seen.
    pub fn from_line(number: u64) -> Self {
        let open = || Open {
            fragment: number > 0,
            ..Open::default()
        };
        Self {
            next_number: number,
            stdout: open(),
            stderr: open(),
            ..Self::default()
        }
    }

    /// Lines held.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of text held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lines, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.lines.iter()
    }

    /// The place of the oldest line. A line that has ended keeps its place, whatever is dropped or put before it.
    pub fn first_place(&self) -> i64 {
        self.first
    }

    /// The line at a place.
    pub fn at(&self, place: i64) -> Option<&Line> {
        self.lines.get(usize::try_from(place - self.first).ok()?)
    }

    /// Number of the next output line.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Number of the oldest output line that is held.
    pub fn first_number(&self) -> Option<u64> {
        self.lines.iter().find_map(|line| line.number)
    }

    /// Takes one event.
    pub fn push(&mut self, event: &Event) {
        self.last_time = self.last_time.max(event.time_us);
        let time = self.last_time;
        let line = match &event.body {
            EventBody::Output { stream, data } => return self.output(time, *stream, data),
            EventBody::Note(note) => Line::new(time, Kind::Note(note.level), note.message.clone()),
            EventBody::Gap { dropped_bytes, .. } => Line::new(time, Kind::Gap(*dropped_bytes), String::new()),
            EventBody::StatementStart(start) => Line::new(time, Kind::Statement(start.line), start.summary.clone()),
            EventBody::StatementEnd(end) => {
                let text = end
                    .error
                    .as_ref()
                    .map(|error| error.message.clone())
                    .unwrap_or_default();
                Line::new(time, Kind::StatementEnd(Box::new(end.clone())), text)
            }
            EventBody::End(outcome) => {
                // Nothing more can come: what has no end is a line all the same.
                for stream in [Stream::Stdout, Stream::Stderr] {
                    if self.unfinished(stream).is_some() {
                        self.finish(time, stream);
                    }
                }
                Line::new(time, Kind::End(Box::new(outcome.clone())), outcome.message.clone())
            }
            EventBody::TableHeader(_) | EventBody::TableRows(_) | EventBody::RowPiece(_) => return,
        };
        self.append(line);
    }

    /// Puts a line before those that are unfinished.
    fn append(&mut self, line: Line) {
        self.bytes += line.text.len();
        let mut after = 0;
        for open in self.lines.iter_mut().rev().take_while(|line| line.is_unfinished()) {
            open.time_us = open.time_us.max(line.time_us);
            after += 1;
        }
        self.lines.insert(self.lines.len() - after, line);
    }

    /// Index of the unfinished line of a stream.
    fn unfinished(&self, stream: Stream) -> Option<usize> {
        let lines = self.lines.iter().enumerate().rev();
        let mut open = lines.take_while(|(_, line)| line.is_unfinished());
        open.find(|(_, line)| line.kind == Kind::Output(stream))
            .map(|(at, _)| at)
    }

    fn output(&mut self, time: i64, stream: Stream, data: &[u8]) {
        let mut rest = data;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at);
            self.feed(time, stream, line);
            self.finish(time, stream);
            rest = after.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.feed(time, stream, rest);
            self.show_open(time, stream);
        }
    }

    fn open(&mut self, stream: Stream) -> &mut Open {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Adds bytes without a line feed to the open line.
    fn feed(&mut self, _time: i64, stream: Stream, bytes: &[u8]) {
        let open = self.open(stream);
        if bytes.is_empty() {
            return;
        }
        let mut bytes = bytes;
        let ends_in_return = bytes.last() == Some(&b'\r');
        if ends_in_return {
            bytes = bytes.get(..bytes.len() - 1).unwrap_or_default();
        }
        if open.returned && !bytes.is_empty() {
            open.bytes.clear();
            open.cut = 0;
        }
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\r') {
            open.bytes.clear();
            open.cut = 0;
            bytes = bytes.get(at + 1..).unwrap_or_default();
        }
        let room = LINE_BYTES.saturating_sub(open.bytes.len()).min(bytes.len());
        let (kept, cut) = bytes.split_at(room);
        open.bytes.extend_from_slice(kept);
        open.cut += cut.len();
        open.returned = ends_in_return;
    }

    /// Makes or renews the line that shows what has no end yet.
    fn show_open(&mut self, time: i64, stream: Stream) -> Option<&mut Line> {
        let open = self.open(stream);
        let text = String::from_utf8_lossy(&open.bytes).into_owned();
        let (cut, style, fragment) = (open.cut, open.style, open.fragment);
        let at = self.unfinished(stream).unwrap_or(self.lines.len());
        if at == self.lines.len() {
            self.lines.push_back(Line {
                style,
                fragment,
                ..Line::new(time, Kind::Output(stream), String::new())
            });
        }
        let line = self.lines.get_mut(at)?;
        self.bytes = (self.bytes + text.len()).saturating_sub(line.text.len());
        (line.text, line.cut) = (text, cut);
        Some(line)
    }

    fn finish(&mut self, time: i64, stream: Stream) {
        let number = self.next_number;
        self.next_number += 1;
        let style = self.show_open(time, stream).map(|line| {
            line.number = Some(number);
            let mut style = line.style;
            if line.text.contains('\u{1b}') {
                sgr::parse(&line.text, &mut style);
            }
            style
        });
        // The other stream's line, which is still unfinished, comes after it.
        if let Some(before) = self.lines.len().checked_sub(2)
            && let Some(ended) = self.lines.back().filter(|line| !line.is_unfinished())
        {
            let time = ended.time_us;
            if let Some(open) = self.lines.get_mut(before).filter(|line| line.is_unfinished()) {
                open.time_us = open.time_us.max(time);
                self.lines.swap(before, before + 1);
            }
        }
        *self.open(stream) = Open {
            style: style.unwrap_or_default(),
            ..Open::default()
        };
    }

    /// Forgets the oldest lines.
    pub fn drop_front(&mut self, count: usize) {
        for line in self.lines.drain(..count.min(self.lines.len())) {
            self.bytes = self.bytes.saturating_sub(line.text.len());
            self.first += 1;
        }
    }

    /// Puts before these the lines that `earlier` has and that come before them. `earlier` was read at least to the
    /// end of the oldest line held here, and completes it when its start was missing.
    pub fn prepend(&mut self, earlier: Lines) {
        let Some(first) = self.first_number() else { return };
        let mut before = Vec::new();
        for line in earlier.lines {
            match line.number {
                Some(number) if number < first => before.push(line),
                Some(number) if number == first => {
                    self.complete(line);
                    break;
                }
                Some(_) | None if matches!(line.kind, Kind::Output(_)) => {}
                Some(_) | None => before.push(line),
            }
        }
        let limit = self.lines.front().map_or(i64::MAX, |line| line.time_us);
        for mut line in before.into_iter().rev() {
            line.time_us = line.time_us.min(limit);
            self.bytes += line.text.len();
            self.lines.push_front(line);
            self.first -= 1;
        }
    }

    /// Replaces the end of a line by the whole of it.
    fn complete(&mut self, whole: Line) {
        let fragment = |line: &&mut Line| line.fragment && line.number == whole.number;
        if let Some(line) = self.lines.iter_mut().find(fragment) {
            self.bytes = (self.bytes + whole.text.len()).saturating_sub(line.text.len());
            *line = Line {
                time_us: line.time_us,
                ..whole
            };
        }
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
