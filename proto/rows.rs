//! Rows too large for one event: cut into pieces where they are made, joined where they are read.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::event::{ColumnData, EventBody, RowPiece, TableRows};

/// Largest row that is kept, in bytes of text: what a reader has to hold at once.
pub const ROW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Cuts the one row that these columns hold into pieces of at most `piece_bytes` of text each.
pub fn pieces(table: u32, columns: Vec<ColumnData>, piece_bytes: usize) -> Vec<RowPiece> {
    // A NULL is one in every piece.
    let is_null = |column: &ColumnData| column.lengths.first().is_none_or(|length| *length == 0);
    let cell = |text: Bytes, is_null: bool| {
        let lengths = vec![if is_null { 0 } else { text.len() as u32 + 1 }];
        ColumnData { text, lengths }
    };
    let nulls: Vec<bool> = columns.iter().map(is_null).collect();
    let blank = || -> Vec<ColumnData> { nulls.iter().map(|is_null| cell(Bytes::new(), *is_null)).collect() };
    let mut pieces = Vec::new();
    let mut piece = blank();
    let mut room = piece_bytes.max(1);
    for ((index, column), is_null) in columns.into_iter().enumerate().zip(&nulls) {
        let mut rest = column.text;
        loop {
            let part = rest.split_to(rest.len().min(room));
            room -= part.len();
            if let Some(place) = piece.get_mut(index) {
                *place = cell(part, *is_null);
            }
            if rest.is_empty() {
                break;
            }
            pieces.push(RowPiece {
                table,
                is_last: false,
                columns: std::mem::replace(&mut piece, blank()),
            });
            room = piece_bytes.max(1);
        }
    }
    pieces.push(RowPiece {
        table,
        is_last: true,
        columns: piece,
    });
    pieces
}

/// Joins pieces to rows. One per reader of an attempt.
#[derive(Debug, Default)]
pub struct Joiner {
    tables: BTreeMap<u32, Vec<Cell>>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Cell {
    text: Vec<u8>,
    is_given: bool,
}

impl Joiner {
    /// Takes what was said and gives it on; pieces of a row are kept until it is whole.
    pub fn body(&mut self, body: EventBody) -> Option<EventBody> {
        match body {
            EventBody::RowPiece(piece) => self.push(piece).map(EventBody::TableRows),
            whole => Some(whole),
        }
    }

    /// Takes a piece; returns the row when it is complete. What is beyond [`ROW_BYTES_MAX`] was not made by an agent
    /// that keeps to it, and is left out.
    pub fn push(&mut self, piece: RowPiece) -> Option<TableRows> {
        let cells = self.tables.entry(piece.table).or_default();
        cells.resize_with(cells.len().max(piece.columns.len()), Cell::default);
        for (cell, column) in cells.iter_mut().zip(&piece.columns) {
            if column.lengths.first().is_some_and(|length| *length > 0) {
                cell.is_given = true;
            }
            let room = ROW_BYTES_MAX.saturating_sub(self.bytes);
            let part = column.text.get(..column.text.len().min(room)).unwrap_or_default();
            cell.text.extend_from_slice(part);
            self.bytes += part.len();
        }
        if !piece.is_last {
            return None;
        }
        let cells = self.tables.remove(&piece.table).unwrap_or_default();
        self.bytes = 0;
        let columns = cells.into_iter().map(|cell| ColumnData {
            lengths: vec![if cell.is_given { cell.text.len() as u32 + 1 } else { 0 }],
            text: cell.text.into(),
        });
        Some(TableRows {
            table: piece.table,
            row_count: 1,
            columns: columns.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn column(cell: &Option<Vec<u8>>) -> ColumnData {
        ColumnData {
            text: cell.clone().unwrap_or_default().into(),
            lengths: vec![cell.as_ref().map_or(0, |cell| cell.len() as u32 + 1)],
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_joined(row in vec(option::of(vec(any::<u8>(), 0..40)), 0..6), size in 1_usize..50) {
            let columns: Vec<ColumnData> = row.iter().map(column).collect();
            let mut joiner = Joiner::default();
            let pieces = pieces(3, columns.clone(), size);
            let last = pieces.len() - 1;
            for (index, piece) in pieces.into_iter().enumerate() {
                let text: usize = piece.columns.iter().map(|column| column.text.len()).sum();
                prop_assert!(text <= size);
                match joiner.push(piece) {
                    Some(rows) => {
                        prop_assert_eq!(index, last);
                        prop_assert_eq!((rows.table, rows.row_count, &rows.columns), (3, 1, &columns));
                    }
                    None => prop_assert!(index < last),
                }
            }
        }
    }
}
