//! What an SQL attempt said: its statements, each with its result sets and its end.

use std::collections::BTreeMap;

use opslink::{
    event::{Event, EventBody, StatementEnd},
    rows::Joiner,
};

use super::grid::Grid;

/// One statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// Its number, from 0.
    pub number: u32,
    /// 1-based line in the script.
    pub line: u32,
    /// Its first 200 characters.
    pub summary: String,
    /// How it ended; absent while it runs.
    pub end: Option<StatementEnd>,
    /// Numbers of its result sets.
    pub tables: Vec<u32>,
}

/// Everything an SQL attempt said.
#[derive(Debug, Default)]
pub struct Results {
    /// The attempt.
    pub attempt_id: String,
    /// The next event that was not seen.
    pub next_seq: u64,
    /// By number.
    pub statements: BTreeMap<u32, Statement>,
    /// By number.
    pub grids: BTreeMap<u32, Grid>,
    /// Grows with every change.
    pub revision: u64,
    /// Rows that have not come whole.
    joiner: Joiner,
}

impl Results {
    /// Of a new attempt.
    pub fn new(attempt_id: &str) -> Self {
        Self {
            attempt_id: attempt_id.to_owned(),
            ..Self::default()
        }
    }

    /// Takes the events of a chunk; those that were seen before are left out.
    pub fn feed(&mut self, first_seq: u64, events: &[Event]) {
        let seen = usize::try_from(self.next_seq.saturating_sub(first_seq)).unwrap_or(usize::MAX);
        for event in events.iter().skip(seen) {
            self.push(&event.body);
        }
        self.next_seq = self.next_seq.max(first_seq + events.len() as u64);
        self.revision += 1;
    }

    fn push(&mut self, body: &EventBody) {
        match body {
            EventBody::StatementStart(start) => {
                let statement = self.statement(start.statement);
                statement.line = start.line;
                statement.summary.clone_from(&start.summary);
            }
            EventBody::StatementEnd(end) => self.statement(end.statement).end = Some(end.clone()),
            EventBody::TableHeader(header) => {
                self.statement(header.statement).tables.push(header.table);
                self.grids.insert(header.table, Grid::new(header));
            }
            EventBody::TableRows(rows) => {
                if let Some(grid) = self.grids.get_mut(&rows.table) {
                    grid.push(rows);
                }
            }
            EventBody::RowPiece(piece) => {
                if let Some(rows) = self.joiner.push(piece.clone())
                    && let Some(grid) = self.grids.get_mut(&rows.table)
                {
                    grid.push(&rows);
                }
            }
            EventBody::Output { .. } | EventBody::Note(_) | EventBody::Gap { .. } | EventBody::End(_) => {}
        }
    }

    fn statement(&mut self, number: u32) -> &mut Statement {
        self.statements.entry(number).or_insert_with(|| Statement {
            number,
            ..Statement::default()
        })
    }

    /// The statement to show first: the failed one, else the last with rows, else the first.
    pub fn most_telling(&self) -> Option<u32> {
        let failed = |statement: &&Statement| statement.end.as_ref().is_some_and(|end| end.error.is_some());
        self.statements
            .values()
            .find(failed)
            .or_else(|| {
                self.statements
                    .values()
                    .rev()
                    .find(|statement| !statement.tables.is_empty())
            })
            .or_else(|| self.statements.values().next())
            .map(|statement| statement.number)
    }
}

#[cfg(test)]
mod tests {
    use opslink::event::{StatementError, StatementStart, TableHeader, TableRows};

    use super::*;

    fn event(body: EventBody) -> Event {
        Event { time_us: 0, body }
    }

    #[test]
    fn statements_own_their_tables() {
        let mut results = Results::new("a");
        let events = [
            event(EventBody::StatementStart(StatementStart {
                statement: 0,
                line: 1,
                summary: "select 1".into(),
            })),
            event(EventBody::TableHeader(TableHeader {
                table: 0,
                statement: 0,
                columns: Vec::new(),
            })),
            event(EventBody::TableRows(TableRows {
                table: 0,
                row_count: 2,
                columns: Vec::new(),
            })),
            event(EventBody::StatementEnd(StatementEnd {
                statement: 0,
                rows_returned: 2,
                ..StatementEnd::default()
            })),
            event(EventBody::StatementStart(StatementStart {
                statement: 1,
                line: 3,
                summary: "oops".into(),
            })),
            event(EventBody::StatementEnd(StatementEnd {
                statement: 1,
                error: Some(StatementError::default()),
                ..StatementEnd::default()
            })),
        ];
        results.feed(0, &events);
        results.feed(0, &events);
        assert_eq!(results.statements[&0].tables, [0]);
        assert_eq!(results.grids[&0].total, 2);
        assert_eq!(results.most_telling(), Some(1));
    }
}
