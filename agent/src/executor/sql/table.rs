//! Rows into events: column batches of bounded size.

use std::sync::Arc;

use opslink::{
    event::{ColumnData, Event, EventBody, TableColumn, TableHeader, TableRows},
    time::UnixMicros,
};

use crate::executor::Sink;

/// A batch leaves when its text has this size: a quarter of a chunk, so that chunks fill evenly.
const BATCH_BYTES: usize = 64 * 1024;
/// … or when it has so many rows: narrow rows must not wait long.
const BATCH_ROWS: u32 = 4096;

/// The result sets of one attempt, one after the other.
pub(super) struct Tables {
    sink: Arc<dyn Sink>,
    max_rows: Option<u64>,
    statement: u32,
    next_table: u32,
    open: Option<Open>,
    rows_returned: u64,
    rows_cut: bool,
    /// Events that go out before the next batch.
    queued: Vec<Event>,
}

/// The result set that is being read.
struct Open {
    table: u32,
    rows_seen: u64,
    batch: Vec<Column>,
    batch_rows: u32,
    batch_bytes: usize,
    skips: bool,
}

#[derive(Default)]
struct Column {
    text: Vec<u8>,
    lengths: Vec<u32>,
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
            queued: Vec::new(),
        }
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

    /// Returns the number of result sets so far.
    pub(super) const fn sets(&self) -> u32 {
        self.next_table
    }

    /// A result set without rows: only its columns are told.
    pub(super) async fn empty_set(&mut self, columns: Vec<TableColumn>) {
        self.begin_set(columns);
        self.end_set().await;
    }

    /// A row begins, and a result set with it when none is open: its header goes out before the first batch.
    pub(super) fn begin_row(&mut self, columns: impl FnOnce() -> Vec<TableColumn>) {
        if self.open.is_none() {
            self.begin_set(columns());
        }
        if let Some(open) = &mut self.open {
            open.rows_seen += 1;
            self.rows_returned += 1;
            open.skips = self.max_rows.is_some_and(|max| open.rows_seen > max);
            self.rows_cut |= open.skips;
        }
    }

    /// Writes a cell of the current row; `None` is NULL.
    pub(super) fn cell(&mut self, column: usize, text: Option<&[u8]>) {
        let Some(open) = self.open.as_mut().filter(|open| !open.skips) else {
            return;
        };
        let Some(column) = open.batch.get_mut(column) else {
            return;
        };
        match text {
            None => column.lengths.push(0),
            Some(text) => {
                column.text.extend_from_slice(text);
                column
                    .lengths
                    .push(u32::try_from(text.len()).unwrap_or(u32::MAX - 1).saturating_add(1));
                open.batch_bytes += text.len();
            }
        }
    }

    /// Writes a cell through a formatter, without a string in between.
    pub(super) fn cell_fmt(&mut self, column: usize, text: std::fmt::Arguments<'_>) {
        use std::io::Write as _;
        let Some(open) = self.open.as_mut().filter(|open| !open.skips) else {
            return;
        };
        let Some(column) = open.batch.get_mut(column) else {
            return;
        };
        let before = column.text.len();
        // Writing into a Vec cannot fail.
        let _ = column.text.write_fmt(text);
        let length = column.text.len() - before;
        column
            .lengths
            .push(u32::try_from(length).unwrap_or(u32::MAX - 1).saturating_add(1));
        open.batch_bytes += length;
    }

    /// The current row is complete.
    pub(super) fn end_row(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.skips) {
            open.batch_rows += 1;
            open.batch_bytes += open.batch.len();
        }
    }

    /// Returns where events go.
    pub(super) fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Says whether rows wait to be sent.
    pub(super) fn has_pending(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.batch_rows > 0)
    }

    /// Says whether the batch has its size.
    pub(super) fn is_full(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.batch_bytes >= BATCH_BYTES || open.batch_rows >= BATCH_ROWS)
    }

    /// Sends what is collected.
    pub(super) async fn flush(&mut self) {
        for event in std::mem::take(&mut self.queued) {
            self.sink.emit(event).await;
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

    fn begin_set(&mut self, columns: Vec<TableColumn>) {
        let table = self.next_table;
        self.next_table += 1;
        let batch = columns.iter().map(|_| Column::default()).collect();
        self.open = Some(Open {
            table,
            rows_seen: 0,
            batch,
            batch_rows: 0,
            batch_bytes: 0,
            skips: false,
        });
        self.queued.push(now(EventBody::TableHeader(TableHeader {
            table,
            statement: self.statement,
            columns,
        })));
    }

    fn take_batch(&mut self) -> Option<Event> {
        let open = self.open.as_mut().filter(|open| open.batch_rows > 0)?;
        let columns = open
            .batch
            .iter_mut()
            .map(|column| {
                // The next batch will be about as large as this one.
                let next = Column {
                    text: Vec::with_capacity(column.text.len()),
                    lengths: Vec::with_capacity(column.lengths.len()),
                };
                let full = std::mem::replace(column, next);
                ColumnData {
                    text: full.text.into(),
                    lengths: full.lengths,
                }
            })
            .collect();
        let row_count = std::mem::take(&mut open.batch_rows);
        open.batch_bytes = 0;
        Some(now(EventBody::TableRows(TableRows {
            table: open.table,
            row_count,
            columns,
        })))
    }
}

/// An event of this moment.
pub(super) fn now(body: EventBody) -> Event {
    Event {
        time_us: UnixMicros::now().0,
        body,
    }
}
