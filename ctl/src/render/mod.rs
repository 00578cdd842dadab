//! How output looks. One target: its bytes, untouched. Several: lines, each with its agent in front. SQL: rows to stdout,
//! what the statements say to stderr.

pub(crate) mod escape;
mod fold;
mod fold_diff;
mod grid;
mod lines;
mod look;
mod prefix;
mod rows;
mod sink;
mod source;
mod statement;

use std::{
    collections::HashMap,
    io::{self, Write},
    time::Instant,
};

use opslink::{
    chunk,
    event::{Event, EventBody, Stream},
    pb::LogChunk,
};

pub(crate) use look::{Look, PerStream};
pub(crate) use rows::RowFormat;
pub(crate) use statement::Script;

use crate::{
    input,
    render::{
        sink::Sink,
        source::{Lane, Source},
    },
    text::text,
};

/// Why output could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Writing failed; a closed pipe is one such.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A chunk from the cloud is damaged.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
}

/// Shows events. Lives on a helper thread while it works: a terminal or a pipe may block it for long.
pub(crate) struct Screen {
    look: Look,
    sinks: PerStream<Sink>,
    script: Script,
    sources: HashMap<String, Source>,
    last: Stream,
    line_open: bool,
    json_first: bool,
    last_header: Option<opslink::event::TableHeader>,
    scratch: Vec<u8>,
}

impl Screen {
    /// Makes a screen on the program's own stdout and stderr.
    pub(crate) fn open(look: Look) -> io::Result<Self> {
        Ok(Self::on(
            look,
            PerStream {
                out: sink::stdout()?,
                err: sink::stderr()?,
            },
        ))
    }

    fn on(look: Look, sinks: PerStream<Sink>) -> Self {
        Self {
            look,
            sinks,
            script: Script::default(),
            sources: HashMap::new(),
            last: Stream::Stdout,
            line_open: false,
            json_first: true,
            last_header: None,
            scratch: Vec::new(),
        }
    }

    /// Tells the script that was sent, so that errors can show its lines.
    pub(crate) fn set_script(&mut self, script: Script) {
        self.script = script;
    }

    /// Shows a chunk's events from `next_seq` on, and writes them out.
    pub(crate) fn chunk(&mut self, agent: &str, chunk: &LogChunk, next_seq: u64) -> Result<(), Error> {
        let events = chunk::decode(chunk)?;
        let seen = usize::try_from(next_seq.saturating_sub(chunk.first_seq)).unwrap_or(usize::MAX);
        self.events(agent, events.into_iter().skip(seen))
    }

    /// Shows events of one agent and writes them out.
    pub(crate) fn events(&mut self, agent: &str, events: impl Iterator<Item = Event>) -> Result<(), Error> {
        let mut source = match self.sources.remove(agent) {
            Some(source) => source,
            None => Source::new(agent, &self.look)?,
        };
        let mut result = Ok(());
        for event in events {
            result = self.event(&mut source, event);
            if result.is_err() {
                break;
            }
        }
        self.sources.insert(agent.to_owned(), source);
        result?;
        Ok(self.flush()?)
    }

    fn event(&mut self, source: &mut Source, event: Event) -> Result<(), Error> {
        match event.body {
            EventBody::Output { stream, data } => self.output(source, stream, &data, event.time_us)?,
            EventBody::TableHeader(header) => self.table_header(source, header)?,
            EventBody::TableRows(rows) => self.table_rows(source, &rows)?,
            EventBody::RowPiece(piece) => {
                (source.joiner.push(piece)).map_or(Ok(()), |rows| self.table_rows(source, &rows))?;
            }
            EventBody::StatementStart(start) => {
                source.statements.insert(start.statement, start.line);
            }
            EventBody::StatementEnd(end) => self.statement_end(source, &end)?,
            EventBody::Note(note) => {
                let line = statement::note(&note, self.look.color.err);
                self.talk(source, &line)?;
            }
            EventBody::Gap { stream, dropped_bytes } => {
                let name = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                let size = input::show_bytes(dropped_bytes);
                self.talk(source, &text("output-dropped", &[("size", &size), ("stream", name)]))?;
            }
            EventBody::End(_) => self.end_source(source)?,
        }
        Ok(())
    }

    fn output(&mut self, source: &mut Source, stream: Stream, data: &[u8], time_us: i64) -> io::Result<()> {
        if let Some(gathered) = source
            .gathered
            .as_mut()
            .filter(|_| *self.look.tty.of(stream) && !self.look.raw)
        {
            self.scratch.clear();
            source.lanes.of_mut(stream).filter.push(data, &mut self.scratch);
            return gathered.of_mut(stream).write_all(&self.scratch);
        }
        if let Some(kept) = source.kept(stream) {
            return kept.write_all(data);
        }
        self.turn_to(stream)?;
        if self.look.many || self.look.timestamps {
            let Source { lanes, prefixes, .. } = source;
            let lane = lanes.of_mut(stream);
            let neutral = *self.look.tty.of(stream) && !self.look.raw;
            let Lane {
                assembler,
                time_us: time,
                ..
            } = lane;
            let stamped = self.look.timestamps;
            let sink = self.sinks.of_mut(stream);
            return assembler
                .push(data, Instant::now(), |piece| {
                    // The time of a line is that of its first byte.
                    let stamp = stamped.then(|| time.take().unwrap_or(time_us));
                    source::write_piece(sink, prefixes.of(stream), stamp, neutral, piece)
                })
                .map(|()| {
                    if assembler.is_waiting() {
                        time.get_or_insert(time_us);
                    }
                });
        }
        let sink = self.sinks.of_mut(stream);
        if *self.look.tty.of(stream) && !self.look.raw {
            self.scratch.clear();
            source.lanes.of_mut(stream).filter.push(data, &mut self.scratch);
            sink.write_all(&self.scratch)?;
        } else {
            sink.write_all(data)?;
        }
        if let Some(last) = data.last() {
            self.line_open = *last != b'\n' && *self.look.tty.of(stream);
        }
        Ok(())
    }

    fn table_header(&mut self, source: &mut Source, header: opslink::event::TableHeader) -> io::Result<()> {
        let agent = (self.look.many && source.is_live()).then_some(source.agent.as_str());
        self.scratch.clear();
        let mut scratch = std::mem::take(&mut self.scratch);
        // Several agents send the same table: its header is written once, not once per agent.
        let known = agent.is_some()
            && self
                .last_header
                .as_ref()
                .is_some_and(|last| last.columns == header.columns);
        if self.look.headers && !known {
            if self.last_header.is_some() && matches!(self.look.rows, RowFormat::Csv | RowFormat::Tsv) {
                scratch.push(b'\n');
            }
            rows::header(&mut scratch, self.look.rows, agent, &header);
        }
        if source.is_live() {
            self.last_header = Some(header.clone());
        }
        source.table = Some(source::Table::new(header, agent, self.look.color.out));
        let result = self.data(source, &scratch);
        self.scratch = scratch;
        result
    }

    fn table_rows(&mut self, source: &mut Source, rows: &opslink::event::TableRows) -> io::Result<()> {
        let many = self.look.many && source.is_live();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let Source { table, agent, .. } = source;
        if let Some(table) = table {
            let agent = many.then_some(agent.as_str());
            match self.look.rows {
                RowFormat::Table => {
                    if let (Some(agent), true) = (agent, table.is_new()) {
                        scratch.extend_from_slice(format!("── {} ──\n", escape::visible(agent)).as_bytes());
                    }
                    table.grid.rows(&mut scratch, rows);
                }
                RowFormat::Csv | RowFormat::Tsv => rows::separated(&mut scratch, self.look.rows, agent, rows),
                RowFormat::Json => table
                    .keys
                    .rows(&mut scratch, RowFormat::Json, rows, &mut self.json_first),
                RowFormat::Jsonl => table
                    .keys
                    .rows(&mut scratch, RowFormat::Jsonl, rows, &mut self.json_first),
            }
            table.has_rows = true;
        }
        let result = self.data(source, &scratch);
        self.scratch = scratch;
        result
    }

    fn statement_end(&mut self, source: &mut Source, end: &opslink::event::StatementEnd) -> io::Result<()> {
        if let Some(mut table) = source.table.take()
            && self.look.rows == RowFormat::Table
        {
            let mut scratch = Vec::new();
            table.grid.end(&mut scratch);
            self.data(source, &scratch)?;
        }
        let first_line = source.statements.remove(&end.statement).unwrap_or_default();
        if self.look.quiet && end.error.is_none() {
            return Ok(());
        }
        let line = statement::end(end, first_line, &self.script, self.look.color.err);
        self.talk(source, &line)
    }

    /// Writes data that is no stream of a process: rows.
    fn data(&mut self, source: &mut Source, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(kept) = source.kept(Stream::Stdout) {
            return kept.write_all(bytes);
        }
        self.turn_to(Stream::Stdout)?;
        self.sinks.out.write_all(bytes)
    }

    /// Writes what the executor says to people: stderr, each line with its agent.
    fn talk(&mut self, source: &mut Source, block: &str) -> io::Result<()> {
        if let Some(gathered) = &mut source.gathered {
            return block.lines().try_for_each(|line| writeln!(gathered.err, "{line}"));
        }
        self.close_line()?;
        self.turn_to(Stream::Stderr)?;
        for line in block.lines() {
            if self.look.many {
                self.sinks.err.write_all(&source.prefixes.err.line)?;
            }
            self.sinks.err.write_all(line.as_bytes())?;
            self.sinks.err.write_all(b"\n")?;
        }
        Ok(())
    }

    /// On a terminal both streams share the screen: what came first must be there first.
    fn turn_to(&mut self, stream: Stream) -> io::Result<()> {
        if self.last != stream {
            self.sinks.of_mut(self.last).flush()?;
            self.last = stream;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sinks.out.flush()?;
        self.sinks.err.flush()
    }

    /// Says whether nothing was ever shown here.
    pub(crate) fn is_untouched(&self) -> bool {
        self.sources.is_empty()
    }

    /// Says whether unfinished lines wait for [`Self::tick`].
    pub(crate) fn is_waiting(&self) -> bool {
        self.sources
            .values()
            .any(|source| source.lanes.out.is_waiting() || source.lanes.err.is_waiting())
    }

    /// Shows unfinished lines that have waited long enough.
    pub(crate) fn tick(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.each_lane(|lane, mut emit| lane.assembler.flush_due(now, &mut emit))?;
        Ok(self.flush()?)
    }

    /// Shows everything that is left, at the end of all output.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.each_lane(|lane, mut emit| lane.assembler.flush(&mut emit))?;
        let mut folded = Vec::new();
        for (agent, mut source) in std::mem::take(&mut self.sources) {
            self.end_source(&mut source)?;
            folded.extend(source.gathered.take().map(|said| (agent, said)));
        }
        let same_screen = self.look.tty.out && self.look.tty.err;
        let mut ways = PerStream {
            out: fold::Way::new(&mut self.sinks.out, self.look.color.out),
            err: fold::Way::new(&mut self.sinks.err, self.look.color.err),
        };
        fold::show(folded, &mut ways, same_screen)?;
        if self.look.rows == RowFormat::Json && self.last_header.is_some() {
            rows::json_end(&mut self.sinks.out, self.json_first)?;
        }
        self.close_line()?;
        Ok(self.flush()?)
    }

    /// Shows what is left of one agent.
    fn end_source(&mut self, source: &mut Source) -> Result<(), Error> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.scratch.clear();
            source.lanes.of_mut(stream).filter.finish(&mut self.scratch);
            if let Some(kept) = source.kept(stream) {
                kept.write_all(&self.scratch)?;
                kept.flush()?;
            } else if !self.scratch.is_empty() {
                self.sinks.of_mut(stream).write_all(&self.scratch)?;
            }
        }
        Ok(())
    }

    /// Ends a line that the task left open on the terminal, so that our own words begin a new one.
    fn close_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.line_open) && self.look.tty.err {
            self.sinks.of_mut(self.last).flush()?;
            self.sinks.err.write_all(b"\n")?;
        }
        Ok(())
    }

    fn each_lane(
        &mut self,
        mut work: impl FnMut(&mut Lane, &mut dyn FnMut(lines::Piece<'_>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        for source in self.sources.values_mut() {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let Source { lanes, prefixes, .. } = source;
                let lane = lanes.of_mut(stream);
                let stamp = self.look.timestamps.then(|| lane.time_us.take()).flatten();
                let neutral = *self.look.tty.of(stream) && !self.look.raw;
                let sink = self.sinks.of_mut(stream);
                work(lane, &mut |piece| {
                    source::write_piece(sink, prefixes.of(stream), stamp, neutral, piece)
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
