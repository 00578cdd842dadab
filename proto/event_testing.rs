//! Strategies for tests: any event, of every kind.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::task::{EventsDigest, ExecutionState, StreamDigest};

/// One of the two streams.
pub(crate) fn any_stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
}

/// An event of any kind.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    (any::<i64>(), any_body()).prop_map(|(time_us, body)| Event { time_us, body })
}

/// Bytes with many line ends and, now and then, every other byte.
pub(crate) fn any_data() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![3 => Just(b'\n'), 5 => Just(b'a'), 2 => any::<u8>()], 0..60).prop_map(Bytes::from)
}

/// Cells as they travel.
fn column_data(cells: Vec<Option<String>>) -> ColumnData {
    let lengths = cells
        .iter()
        .map(|cell| cell.as_ref().map_or(0, |text| u32::try_from(text.len()).unwrap() + 1))
        .collect();
    ColumnData {
        text: cells.into_iter().flatten().collect::<String>().into(),
        lengths,
    }
}

fn any_body() -> impl Strategy<Value = EventBody> {
    let word = "[a-zé ]{0,9}";
    let kind = prop_oneof![
        Just(ColumnKind::Text),
        Just(ColumnKind::Number),
        Just(ColumnKind::Bool),
        Just(ColumnKind::Time),
        Just(ColumnKind::Json),
        Just(ColumnKind::Bytes),
    ];
    let column = (word, word, kind).prop_map(|(name, type_name, kind)| TableColumn { name, type_name, kind });
    let header = (any::<u32>(), any::<u32>(), vec(column, 0..4)).prop_map(|(table, statement, columns)| {
        EventBody::TableHeader(TableHeader {
            table,
            statement,
            columns,
        })
    });
    let cell = option::of("[a-zé\\n]{0,9}");
    let cells = (0usize..20).prop_flat_map(move |rows| (Just(rows), vec(vec(cell.clone(), rows), 0..3)));
    let rows = (any::<u32>(), cells).prop_map(|(table, (rows, columns))| {
        EventBody::TableRows(TableRows {
            table,
            row_count: u32::try_from(rows).unwrap(),
            columns: columns.into_iter().map(column_data).collect(),
        })
    });
    let cell = any_data().prop_map(|text| ColumnData {
        lengths: vec![text.len() as u32 + 1],
        text,
    });
    let piece = (any::<u32>(), any::<bool>(), vec(cell, 0..3)).prop_map(|(table, is_last, columns)| {
        EventBody::RowPiece(RowPiece {
            table,
            is_last,
            columns,
        })
    });
    let start = (any::<u32>(), any::<u32>(), word).prop_map(|(statement, line, summary)| {
        EventBody::StatementStart(StatementStart {
            statement,
            line,
            summary,
        })
    });
    let error = (word, word, word, any::<u32>()).prop_map(|(message, code, hint, line)| StatementError {
        message,
        code,
        detail: String::new(),
        hint,
        line,
        column: line / 2,
    });
    let end = (
        any::<u32>(),
        option::of(any::<u64>()),
        any::<bool>(),
        option::of(error),
        word,
    )
        .prop_map(|(statement, rows_affected, rows_cut, error, tag)| {
            EventBody::StatementEnd(StatementEnd {
                statement,
                rows_affected,
                rows_returned: rows_affected.unwrap_or(9),
                rows_cut,
                elapsed_us: 77,
                error,
                tag,
            })
        });
    let level = prop_oneof![Just(Level::Info), Just(Level::Warning), Just(Level::Error)];
    let note =
        (level, word, word).prop_map(|(level, reason, message)| EventBody::Note(Note { level, reason, message }));
    prop_oneof![
        4 => (any_stream(), any_data()).prop_map(|(stream, data)| EventBody::Output { stream, data }),
        1 => header,
        1 => rows,
        1 => piece,
        1 => start,
        1 => end,
        1 => note,
        1 => (any_stream(), any::<u64>()).prop_map(|(stream, dropped_bytes)| EventBody::Gap { stream, dropped_bytes }),
        1 => any_outcome().prop_map(EventBody::End),
    ]
}

/// An outcome with any end state.
pub(crate) fn any_outcome() -> impl Strategy<Value = Outcome> {
    let ends: Vec<_> = ExecutionState::ALL
        .into_iter()
        .filter(|state| state.is_terminal())
        .collect();
    let digest = (any_stream(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(stream, bytes, hash)| StreamDigest {
        stream,
        bytes,
        blake3: Bytes::copy_from_slice(&hash),
    });
    let signal = option::of(prop_oneof![i32::MIN..0, 1..=i32::MAX]);
    (
        proptest::sample::select(ends),
        option::of(any::<i32>()),
        signal,
        vec(digest, 0..3),
        any::<i64>(),
    )
        .prop_map(|(state, exit_code, signal, streams, time)| Outcome {
            state,
            exit_code,
            signal,
            reason: "EXIT_NONZERO".into(),
            message: "it did not work".into(),
            streams,
            started_time_us: time,
            finished_time_us: time.saturating_add(1),
            events: (time % 2 == 0).then(|| EventsDigest {
                version: 1,
                count: 7,
                blake3: Bytes::from_static(&[7; 32]),
            }),
        })
}
