//! What an attempt says, event by event. The numbers (`seq`) are implied by position: a chunk says its first.

use bytes::Bytes;

use crate::task::Outcome;

/// One thing that an attempt says.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Microseconds since 1970, on the agent's clock.
    pub time_us: i64,
    /// What is said.
    pub body: EventBody,
}

/// The kinds of event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    /// Bytes of one stream, as they were written; cut anywhere.
    Output {
        /// Which stream.
        stream: Stream,
        /// The bytes.
        data: Bytes,
    },
    /// A result set begins.
    TableHeader(TableHeader),
    /// Rows of a result set.
    TableRows(TableRows),
    /// A piece of one row of a result set.
    RowPiece(RowPiece),
    /// A statement begins.
    StatementStart(StatementStart),
    /// A statement ends.
    StatementEnd(StatementEnd),
    /// A word of the runner or the executor to people.
    Note(Note),
    /// Output that was dropped on purpose.
    Gap {
        /// Which stream.
        stream: Stream,
        /// How much is missing.
        dropped_bytes: u64,
    },
    /// The last event of every attempt.
    End(Outcome),
}

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The columns of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHeader {
    /// Number of the result set in this attempt, from 0.
    pub table: u32,
    /// Number of the statement that made it, from 0.
    pub statement: u32,
    /// Its columns.
    pub columns: Vec<TableColumn>,
}

/// A column of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// As the database names it.
    pub name: String,
    /// The database's own name of the type.
    pub type_name: String,
    /// How its text is shown and sorted.
    pub kind: ColumnKind,
}

/// How a column's text is to be shown and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// As it is.
    Text,
    /// Right-aligned, sorted by value.
    Number,
    /// `true` or `false`.
    Bool,
    /// ISO 8601.
    Time,
    /// A JSON document.
    Json,
    /// Hexadecimal, without a prefix.
    Bytes,
}

/// Most columns of a result set: MySQL has up to 4,096, PostgreSQL 1,664, SQLite 2,000 unless it was built otherwise.
pub const COLUMNS_MAX: usize = 4_096;
/// Most rows of one batch; an executor sends 4,096 at most.
pub const ROWS_MAX: u32 = 1 << 16;

/// Rows of a result set, column by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// Number of the result set.
    pub table: u32,
    /// Rows in this batch.
    pub row_count: u32,
    /// One per column of the header.
    pub columns: Vec<ColumnData>,
}

/// The cells of one column: their texts one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnData {
    /// UTF-8.
    pub text: Bytes,
    /// Per row: 0 is NULL, otherwise length in bytes + 1.
    pub lengths: Vec<u32>,
}

/// A piece of one row that is too large for a batch; see [`crate::rows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPiece {
    /// Number of the result set.
    pub table: u32,
    /// The row is complete.
    pub is_last: bool,
    /// One per column of the header, each with one cell: a part of the row's.
    pub columns: Vec<ColumnData>,
}

impl ColumnData {
    /// Iterates over the cells; `None` is NULL. Ends early when the lengths lie about the text.
    pub fn cells(&self) -> impl Iterator<Item = Option<&[u8]>> + '_ {
        let mut rest: &[u8] = &self.text;
        self.lengths.iter().map_while(move |length| {
            let Some(length) = length.checked_sub(1) else {
                return Some(None);
            };
            let (cell, after) = rest.split_at_checked(length as usize)?;
            rest = after;
            Some(Some(cell))
        })
    }
}

/// A statement begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementStart {
    /// Number of the statement in its script, from 0.
    pub statement: u32,
    /// 1-based line of its first character.
    pub line: u32,
    /// Its first 200 characters, on one line.
    pub summary: String,
}

/// A statement ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatementEnd {
    /// Number of the statement in its script, from 0.
    pub statement: u32,
    /// Absent when the statement returns no count.
    pub rows_affected: Option<u64>,
    /// Rows that the database returned.
    pub rows_returned: u64,
    /// True when `max_rows` cut the result.
    pub rows_cut: bool,
    /// Time it took, in microseconds.
    pub elapsed_us: u64,
    /// Absent on success.
    pub error: Option<StatementError>,
    /// The database's own word, such as `INSERT`.
    pub tag: String,
}

/// Why a statement failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatementError {
    /// The database's message.
    pub message: String,
    /// SQLSTATE, or the engine's own code.
    pub code: String,
    /// The database's further detail.
    pub detail: String,
    /// The database's hint.
    pub hint: String,
    /// 1-based line in the script; 0 when unknown.
    pub line: u32,
    /// 1-based column in the script; 0 when unknown.
    pub column: u32,
}

/// A word of the runner or the executor to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How grave.
    pub level: Level,
    /// UPPER_SNAKE reason from the catalogue; may be empty.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// How grave a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is not as asked.
    Warning,
    /// Something failed.
    Error,
}

#[cfg(test)]
#[path = "event_testing.rs"]
pub(crate) mod testing;
