//! Events, one by one. The chunk codec writes the same bytes without going through the wire types.

use super::InvalidMessage;
use crate::{
    event::{
        COLUMNS_MAX, ColumnData, ColumnKind, Event, EventBody, Level, Note, ROWS_MAX, RowPiece, StatementEnd,
        StatementError, StatementStart, TableColumn, TableHeader, TableRows,
    },
    pb,
};

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        use pb::event::Body;
        let body = match event.body {
            EventBody::Output { stream, data } => Body::Output(pb::Output {
                stream: pb::Stream::from(stream).into(),
                data,
            }),
            EventBody::TableHeader(header) => Body::TableHeader(header.into()),
            EventBody::TableRows(rows) => Body::TableRows(rows.into()),
            EventBody::RowPiece(piece) => Body::RowPiece(pb::RowPiece {
                table: piece.table,
                last: piece.is_last,
                columns: piece.columns.into_iter().map(Into::into).collect(),
            }),
            EventBody::StatementStart(start) => Body::StatementStart(pb::StatementStart {
                statement: start.statement,
                line: start.line,
                summary: start.summary,
            }),
            EventBody::StatementEnd(end) => Body::StatementEnd(end.into()),
            EventBody::Note(note) => Body::Note(pb::Note {
                level: pb::Level::from(note.level).into(),
                reason: note.reason,
                message: note.message,
            }),
            EventBody::Gap { stream, dropped_bytes } => Body::Gap(pb::Gap {
                stream: pb::Stream::from(stream).into(),
                dropped_bytes,
            }),
            EventBody::End(outcome) => Body::End(outcome.into()),
        };
        Self {
            time_us: event.time_us,
            body: Some(body),
        }
    }
}

impl TryFrom<pb::Event> for Event {
    type Error = InvalidMessage;

    fn try_from(event: pb::Event) -> Result<Self, InvalidMessage> {
        use pb::event::Body;
        let body = match event
            .body
            .ok_or_else(|| InvalidMessage::new("event.body", "is absent or of an unknown kind"))?
        {
            Body::Output(output) => EventBody::Output {
                stream: output.stream().try_into()?,
                data: output.data,
            },
            Body::TableHeader(header) => EventBody::TableHeader(header.try_into()?),
            Body::TableRows(rows) => EventBody::TableRows(rows.try_into()?),
            Body::RowPiece(piece) => EventBody::RowPiece(RowPiece {
                table: piece.table,
                is_last: piece.last,
                columns: columns_of(1, piece.columns)?,
            }),
            Body::StatementStart(start) => EventBody::StatementStart(StatementStart {
                statement: start.statement,
                line: start.line,
                summary: start.summary,
            }),
            Body::StatementEnd(end) => EventBody::StatementEnd(end.into()),
            Body::Note(note) => EventBody::Note(Note {
                level: note.level().try_into()?,
                reason: note.reason,
                message: note.message,
            }),
            Body::Gap(gap) => EventBody::Gap {
                stream: gap.stream().try_into()?,
                dropped_bytes: gap.dropped_bytes,
            },
            Body::End(outcome) => EventBody::End(outcome.try_into()?),
        };
        Ok(Self {
            time_us: event.time_us,
            body,
        })
    }
}

impl From<TableHeader> for pb::TableHeader {
    fn from(header: TableHeader) -> Self {
        let column = |column: TableColumn| pb::TableColumn {
            name: column.name,
            r#type: column.type_name,
            kind: pb::ColumnKind::from(column.kind).into(),
        };
        Self {
            table: header.table,
            statement: header.statement,
            columns: header.columns.into_iter().map(column).collect(),
        }
    }
}

impl TryFrom<pb::TableHeader> for TableHeader {
    type Error = InvalidMessage;

    fn try_from(header: pb::TableHeader) -> Result<Self, InvalidMessage> {
        check_columns("table_header.columns", header.columns.len())?;
        let column = |column: pb::TableColumn| TableColumn {
            kind: column.kind().into(),
            name: column.name,
            type_name: column.r#type,
        };
        Ok(Self {
            table: header.table,
            statement: header.statement,
            columns: header.columns.into_iter().map(column).collect(),
        })
    }
}

impl From<ColumnData> for pb::ColumnData {
    fn from(column: ColumnData) -> Self {
        Self {
            text: column.text,
            lengths: column.lengths,
        }
    }
}

impl From<pb::ColumnData> for ColumnData {
    fn from(column: pb::ColumnData) -> Self {
        Self {
            text: column.text,
            lengths: column.lengths,
        }
    }
}

impl From<TableRows> for pb::TableRows {
    fn from(rows: TableRows) -> Self {
        Self {
            table: rows.table,
            row_count: rows.row_count,
            columns: rows.columns.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::TableRows> for TableRows {
    type Error = InvalidMessage;

    fn try_from(rows: pb::TableRows) -> Result<Self, InvalidMessage> {
        if rows.row_count > ROWS_MAX {
            let detail = format!("is {}; a batch has {ROWS_MAX} at most", rows.row_count);
            return Err(InvalidMessage::new("table_rows.row_count", detail));
        }
        Ok(Self {
            table: rows.table,
            row_count: rows.row_count,
            columns: columns_of(rows.row_count, rows.columns)?,
        })
    }
}

/// The columns of so many rows. Nobody who reads them has to doubt their numbers: a tiny batch that speaks of four
/// billion rows is refused here.
fn columns_of(rows: u32, columns: Vec<pb::ColumnData>) -> Result<Vec<ColumnData>, InvalidMessage> {
    check_columns("table_rows.columns", columns.len())?;
    for column in &columns {
        if column.lengths.len() as u64 != u64::from(rows) {
            let detail = format!("are {} for {rows} rows", column.lengths.len());
            return Err(InvalidMessage::new("table_rows.columns.lengths", detail));
        }
        let bytes: u64 = column
            .lengths
            .iter()
            .map(|length| u64::from(length.saturating_sub(1)))
            .sum();
        if bytes != column.text.len() as u64 {
            let detail = format!("has {} bytes where its lengths say {bytes}", column.text.len());
            return Err(InvalidMessage::new("table_rows.columns.text", detail));
        }
    }
    Ok(columns.into_iter().map(Into::into).collect())
}

fn check_columns(field: &str, columns: usize) -> Result<(), InvalidMessage> {
    if columns > COLUMNS_MAX {
        let detail = format!("are {columns}; a table has {COLUMNS_MAX} at most");
        return Err(InvalidMessage::new(field, detail));
    }
    Ok(())
}

impl From<StatementEnd> for pb::StatementEnd {
    fn from(end: StatementEnd) -> Self {
        Self {
            statement: end.statement,
            rows_affected: end.rows_affected,
            rows_returned: end.rows_returned,
            rows_cut: end.rows_cut,
            elapsed_us: end.elapsed_us,
            error: end.error.map(|error| pb::StatementError {
                message: error.message,
                code: error.code,
                detail: error.detail,
                hint: error.hint,
                line: error.line,
                column: error.column,
            }),
            tag: end.tag,
        }
    }
}

impl From<pb::StatementEnd> for StatementEnd {
    fn from(end: pb::StatementEnd) -> Self {
        Self {
            statement: end.statement,
            rows_affected: end.rows_affected,
            rows_returned: end.rows_returned,
            rows_cut: end.rows_cut,
            elapsed_us: end.elapsed_us,
            error: end.error.map(|error| StatementError {
                message: error.message,
                code: error.code,
                detail: error.detail,
                hint: error.hint,
                line: error.line,
                column: error.column,
            }),
            tag: end.tag,
        }
    }
}

impl From<ColumnKind> for pb::ColumnKind {
    fn from(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Text => Self::Text,
            ColumnKind::Number => Self::Number,
            ColumnKind::Bool => Self::Bool,
            ColumnKind::Time => Self::Time,
            ColumnKind::Json => Self::Json,
            ColumnKind::Bytes => Self::Bytes,
        }
    }
}

impl From<pb::ColumnKind> for ColumnKind {
    /// A kind of a newer agent is shown as text.
    fn from(kind: pb::ColumnKind) -> Self {
        match kind {
            pb::ColumnKind::Unspecified | pb::ColumnKind::Text => Self::Text,
            pb::ColumnKind::Number => Self::Number,
            pb::ColumnKind::Bool => Self::Bool,
            pb::ColumnKind::Time => Self::Time,
            pb::ColumnKind::Json => Self::Json,
            pb::ColumnKind::Bytes => Self::Bytes,
        }
    }
}

impl From<Level> for pb::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

impl TryFrom<pb::Level> for Level {
    type Error = InvalidMessage;

    fn try_from(level: pb::Level) -> Result<Self, InvalidMessage> {
        match level {
            pb::Level::Unspecified => Err(InvalidMessage::new("note.level", "must be given")),
            pb::Level::Info => Ok(Self::Info),
            pb::Level::Warning => Ok(Self::Warning),
            pb::Level::Error => Ok(Self::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::testing::any_event;

    proptest! {
        #[test]
        fn events_round_trip(event in any_event()) {
            prop_assert_eq!(Event::try_from(pb::Event::from(event.clone())).unwrap(), event);
        }
    }

    #[test]
    fn an_event_without_a_body_is_refused() {
        assert!(Event::try_from(pb::Event { time_us: 1, body: None }).is_err());
    }
    fn rows(row_count: u32, columns: Vec<pb::ColumnData>) -> Result<TableRows, InvalidMessage> {
        pb::TableRows {
            table: 0,
            row_count,
            columns,
        }
        .try_into()
    }

    #[test]
    fn a_batch_whose_numbers_lie_is_refused() {
        let column = |text: &'static str, lengths: &[u32]| pb::ColumnData {
            text: text.into(),
            lengths: lengths.to_vec(),
        };
        assert!(rows(2, vec![column("ab", &[3, 0])]).is_ok());
        assert!(rows(7, Vec::new()).is_ok(), "a table without columns has rows too");
        for (row_count, columns) in [
            (u32::MAX, Vec::new()),
            (u32::MAX, vec![column("ab", &[3, 0])]),
            (1, vec![column("ab", &[3, 0])]),
            (2, vec![column("ab", &[2, 0])]),
            (2, vec![column("ab", &[3, 0]), column("", &[])]),
            (0, vec![column("", &[]); COLUMNS_MAX + 1]),
        ] {
            assert!(
                rows(row_count, columns.clone()).is_err(),
                "{row_count} {}",
                columns.len()
            );
        }
    }

    #[test]
    fn a_header_of_50_000_columns_is_refused() {
        let header = |columns| {
            TableHeader::try_from(pb::TableHeader {
                columns: vec![pb::TableColumn::default(); columns],
                ..Default::default()
            })
        };
        assert!(header(COLUMNS_MAX).is_ok());
        assert!(header(50_000).is_err());
    }
}
