//! Rows into events: column batches of bounded size. No row is lost: one too large for a batch travels alone, in
//! pieces, and one too large for that fails its statement.

use std::{mem, sync::Arc};

use async_trait::async_trait;
use bytes::BytesMut;
use opslink::{
    chunk::OUTPUT_MAX,
    event::{ColumnData, Event, EventBody, Level, Note, Stream, TableColumn, TableHeader, TableRows},
    rows::ROW_BYTES_MAX,
    time::UnixMicros,
};

use super::error::Error;
use crate::executor::Sink;

/// A batch leaves when its text has this size: a quarter of a chunk, so that chunks fill evenly.
const BATCH_BYTES: usize = 64 * 1024;
/// … or when it has so many rows: narrow rows must not wait long.
const BATCH_ROWS: u32 = 4096;
/// Most text of one event: well below the limit of an encoded one (2 MiB).
const EVENT_BYTES: usize = 1024 * 1024;
/// Largest row that is kept.
pub(super) const ROW_MAX: usize = ROW_BYTES_MAX;
/// Names of columns may be whole expressions; the header is one event, and a table may have thousands of columns.
const NAME_BYTES: usize = 400;

/// The result sets of one attempt, one after the other.
pub(super) struct Tables {
    sink: Arc<dyn Sink>,
    max_rows: Option<u64>,
    statement: u32,
    next_table: u32,
    open: Option<Open>,
    rows_returned: u64,
    rows_cut: bool,
    /// A header that goes out before the next batch.
    header: Option<Event>,
    /// Bytes of COPY … TO stdout that wait for company.
    copy: BytesMut,
}

/// The result set that is being read.
struct Open {
    table: u32,
    rows_seen: u64,
    batch: Vec<Column>,
    batch_rows: u32,
    batch_bytes: usize,
    /// The current row is too large for a batch: its cells are collected here alone.
    is_alone: bool,
}

#[derive(Default)]
struct Column {
    text: Vec<u8>,
    lengths: Vec<u32>,
}

impl Column {
    fn push(&mut self, cell: Option<&[u8]>) {
        match cell {
            None => self.lengths.push(0),
            Some(text) => {
                self.text.extend_from_slice(text);
                self.lengths.push(wire_length(text.len()));
            }
        }
    }

    /// The next batch will be about as large as this one.
    fn take(&mut self) -> ColumnData {
        let next = Self {
            text: Vec::with_capacity(self.text.len().min(2 * BATCH_BYTES)),
            lengths: Vec::with_capacity(self.lengths.len()),
        };
        let full = mem::replace(self, next);
        ColumnData {
            text: full.text.into(),
            lengths: full.lengths,
        }
    }
}

impl Tables {
    pub(super) fn new(sink: Arc<dyn Sink>, max_rows: Option<u64>) -> Self {
        Self {
            sink,
            max_rows,
            statement: 0,
            next_table: 0,
            open: None,
            rows_returned: 0,
            rows_cut: false,
            header: None,
            copy: BytesMut::new(),
        }
    }

    /// For statements whose answer nobody reads.
    pub(super) fn silent() -> Self {
        Self::new(Arc::new(Silence), Some(0))
    }

    /// A statement begins: its result sets carry its number.
    pub(super) fn begin_statement(&mut self, statement: u32) {
        self.statement = statement;
        self.rows_returned = 0;
        self.rows_cut = false;
    }

    /// Returns the rows that the statement returned, and whether some were left out.
    pub(super) const fn counts(&self) -> (u64, bool) {
        (self.rows_returned, self.rows_cut)
    }

    /// A result set begins, also one that will have no rows.
    pub(super) fn begin_set(&mut self, columns: Vec<TableColumn>) {
        let table = self.next_table;
        self.next_table += 1;
        self.open = Some(Open {
            table,
            rows_seen: 0,
            batch: columns.iter().map(|_| Column::default()).collect(),
            batch_rows: 0,
            batch_bytes: 0,
            is_alone: false,
        });
        let columns = columns.into_iter().map(bounded_name).collect();
        self.header = Some(now(EventBody::TableHeader(TableHeader {
            table,
            statement: self.statement,
            columns,
        })));
    }

    /// A row of so many bytes begins. False when it is left out: `max_rows` are there.
    pub(super) async fn begin_row(&mut self, bytes: usize) -> bool {
        self.rows_returned += 1;
        let Some(open) = &mut self.open else { return false };
        open.rows_seen += 1;
        if self.max_rows.is_some_and(|max| open.rows_seen > max) {
            self.rows_cut = true;
            return false;
        }
        let is_alone = bytes > EVENT_BYTES;
        if open.batch_rows > 0 && open.batch_bytes + bytes > EVENT_BYTES {
            self.flush().await;
        }
        if let Some(open) = &mut self.open {
            open.is_alone = is_alone;
        }
        true
    }

    /// Writes a cell of the current row; `None` is NULL.
    pub(super) fn cell(&mut self, column: usize, text: Option<&[u8]>) {
        if let Some(open) = &mut self.open
            && let Some(column) = open.batch.get_mut(column)
        {
            column.push(text);
            open.batch_bytes += text.map_or(0, <[u8]>::len);
        }
    }

    /// The current row is complete.
    pub(super) async fn end_row(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.batch_rows += 1;
        open.batch_bytes += open.batch.len();
        if mem::take(&mut open.is_alone) {
            self.flush_alone().await;
        } else if open.batch_bytes >= BATCH_BYTES || open.batch_rows >= BATCH_ROWS {
            self.flush().await;
        }
    }

    /// A row is larger than can be kept: the statement fails with this. Counts it.
    pub(super) fn row_too_large(&mut self, bytes: usize) -> Error {
        self.rows_returned += 1;
        let row = self.rows_returned;
        Error::said(
            "",
            format!(
                "row {row} of the result has {bytes} bytes; at most {} MiB can be kept of one row. The rows before it \
                 are kept, it and those after it are not",
                ROW_MAX / 1024 / 1024
            ),
        )
    }

    /// Bytes of COPY … TO stdout. They leave in pieces of their best size, as rows do.
    pub(super) async fn output(&mut self, data: &[u8]) {
        self.copy.extend_from_slice(data);
        while self.copy.len() >= OUTPUT_MAX {
            let data = self.copy.split_to(OUTPUT_MAX).freeze();
            self.emit_output(data).await;
        }
    }

    /// Something that the database says between its rows, in its place.
    pub(super) async fn note(&mut self, level: Level, message: String) {
        self.flush().await;
        let note = Note {
            level,
            reason: String::new(),
            message,
        };
        self.sink.emit(now(EventBody::Note(note))).await;
    }

    /// Says whether rows or bytes wait to be sent.
    pub(super) fn has_pending(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.batch_rows > 0) || !self.copy.is_empty()
    }

    /// Sends what is collected.
    pub(super) async fn flush(&mut self) {
        if let Some(header) = self.header.take() {
            self.sink.emit(header).await;
        }
        if !self.copy.is_empty() {
            let data = self.copy.split().freeze();
            self.emit_output(data).await;
        }
        if let Some(batch) = self.take_batch() {
            self.sink.emit(batch).await;
        }
    }

    /// The result set is over; says whether there was one.
    pub(super) async fn end_set(&mut self) -> bool {
        self.flush().await;
        self.open.take().is_some()
    }

    async fn emit_output(&self, data: bytes::Bytes) {
        let stream = Stream::Stdout;
        self.sink.emit(now(EventBody::Output { stream, data })).await;
    }

    fn take_batch(&mut self) -> Option<Event> {
        let open = self.open.as_mut().filter(|open| open.batch_rows > 0)?;
        let columns = open.batch.iter_mut().map(Column::take).collect();
        open.batch_bytes = 0;
        Some(now(EventBody::TableRows(TableRows {
            table: open.table,
            row_count: mem::take(&mut open.batch_rows),
            columns,
        })))
    }

    /// Sends the one row of the batch in pieces.
    async fn flush_alone(&mut self) {
        if let Some(header) = self.header.take() {
            self.sink.emit(header).await;
        }
        let Some(event) = self.take_batch() else { return };
        let EventBody::TableRows(TableRows { table, columns, .. }) = event.body else {
            return;
        };
        for piece in opslink::rows::pieces(table, columns, EVENT_BYTES) {
            self.sink.emit(now(EventBody::RowPiece(piece))).await;
        }
    }
}

fn bounded_name(mut column: TableColumn) -> TableColumn {
    if column.name.len() > NAME_BYTES {
        column.name.truncate(column.name.floor_char_boundary(NAME_BYTES));
        column.name.push('…');
    }
    column
}

/// 0 is NULL, otherwise the length and one. A row is at most `ROW_MAX`.
fn wire_length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX - 1).saturating_add(1)
}

/// An event of this moment.
pub(super) fn now(body: EventBody) -> Event {
    Event {
        time_us: UnixMicros::now().0,
        body,
    }
}

struct Silence;

#[async_trait]
impl Sink for Silence {
    async fn emit(&self, _: Event) {}

    fn emit_blocking(&self, _: Event) {}

    fn flush(&self) {}
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
