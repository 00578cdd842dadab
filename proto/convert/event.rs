//! Events, one by one. The chunk codec writes the same bytes without going through the wire types.

use super::InvalidMessage;
use crate::{
    event::{
        ColumnData, ColumnKind, Event, EventBody, Level, Note, StatementEnd, StatementError, StatementStart,
        TableColumn, TableHeader, TableRows,
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
            Body::TableHeader(header) => EventBody::TableHeader(header.into()),
            Body::TableRows(rows) => EventBody::TableRows(rows.into()),
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

impl From<pb::TableHeader> for TableHeader {
    fn from(header: pb::TableHeader) -> Self {
        let column = |column: pb::TableColumn| TableColumn {
            kind: column.kind().into(),
            name: column.name,
            type_name: column.r#type,
        };
        Self {
            table: header.table,
            statement: header.statement,
            columns: header.columns.into_iter().map(column).collect(),
        }
    }
}

impl From<TableRows> for pb::TableRows {
    fn from(rows: TableRows) -> Self {
        let column = |column: ColumnData| pb::ColumnData {
            text: column.text,
            lengths: column.lengths,
        };
        Self {
            table: rows.table,
            row_count: rows.row_count,
            columns: rows.columns.into_iter().map(column).collect(),
        }
    }
}

impl From<pb::TableRows> for TableRows {
    fn from(rows: pb::TableRows) -> Self {
        let column = |column: pb::ColumnData| ColumnData {
            text: column.text,
            lengths: column.lengths,
        };
        Self {
            table: rows.table,
            row_count: rows.row_count,
            columns: rows.columns.into_iter().map(column).collect(),
        }
    }
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
}
