//! What decoded events take. Rows are columnar: a cell that is NULL has five bytes in a chunk and some ninety in memory, so
//! no header says how much it is.

use opslink::{
    event::{ColumnData, Event, EventBody},
    pb,
};

/// An event, whatever it says.
const EVENT_BYTES: usize = size_of::<Event>();
/// What the heap takes for each block beside what is in it.
const BLOCK_BYTES: usize = 16;
/// What one byte of a chunk becomes at most: an empty column has two.
const GROWTH_MAX: usize = size_of::<ColumnData>() / 2;

/// What the events of a chunk take at least.
pub(super) fn least(chunk: &pb::LogChunk) -> usize {
    raw(chunk).saturating_add(events(chunk))
}

/// What they take at most.
pub(super) fn most(chunk: &pb::LogChunk) -> usize {
    raw(chunk).saturating_mul(GROWTH_MAX).saturating_add(events(chunk))
}

/// What the bytes of all events take: one buffer, which output and cells are slices of. They have as many once they are
/// encoded.
pub(super) fn raw(chunk: &pb::LogChunk) -> usize {
    usize::try_from(chunk.raw_size).unwrap_or(usize::MAX)
}

fn events(chunk: &pb::LogChunk) -> usize {
    let events = usize::try_from(chunk.event_count).unwrap_or(usize::MAX);
    events.saturating_mul(EVENT_BYTES)
}

/// What these events take beside the buffer.
pub(super) fn beside(events: &[Event]) -> usize {
    let all = events.iter().map(|event| EVENT_BYTES + of_body(&event.body));
    all.sum()
}

fn of_body(body: &EventBody) -> usize {
    match body {
        EventBody::Output { .. } | EventBody::Gap { .. } => 0,
        EventBody::TableHeader(header) => {
            let texts = header.columns.iter();
            let texts = texts.map(|column| block(column.name.capacity()) + block(column.type_name.capacity()));
            block(size_of_val(header.columns.as_slice())) + texts.sum::<usize>()
        }
        EventBody::TableRows(rows) => of_columns(&rows.columns),
        EventBody::RowPiece(piece) => of_columns(&piece.columns),
        EventBody::StatementStart(start) => block(start.summary.capacity()),
        EventBody::StatementEnd(end) => {
            let of_error: usize = end.error.as_ref().map_or(0, |error| {
                let texts = [&error.message, &error.code, &error.detail, &error.hint];
                texts.map(|text| block(text.capacity())).iter().sum()
            });
            block(end.tag.capacity()) + of_error
        }
        EventBody::Note(note) => block(note.reason.capacity()) + block(note.message.capacity()),
        EventBody::End(outcome) => block(outcome.message.capacity()) + block(size_of_val(outcome.streams.as_slice())),
    }
}

fn of_columns(columns: &[ColumnData]) -> usize {
    let lengths = columns.iter();
    let lengths = lengths.map(|column| block(column.lengths.capacity() * size_of::<u32>()));
    block(size_of_val(columns)) + lengths.sum::<usize>()
}

fn block(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        some => some + BLOCK_BYTES,
    }
}
