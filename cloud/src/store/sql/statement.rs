//! Statements with many rows, for the hot paths: text once, values bound, no query builder.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value, Values};

/// Most rows in one statement. 512 rows of 16 values stay far below both limits (SQLite 32,766, PostgreSQL 65,535).
const MOST_ROWS: usize = 512;

/// A statement in the making.
#[derive(Debug)]
pub(in crate::store) struct Sql {
    backend: DbBackend,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Begins a statement.
    pub(in crate::store) fn new(backend: DbBackend, text: &str) -> Self {
        Self {
            backend,
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds text.
    pub(in crate::store) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.place(value.into());
        self
    }

    /// Adds `(a, b), (c, d)`.
    pub(in crate::store) fn rows<R: IntoIterator<Item = Value>>(mut self, rows: impl IntoIterator<Item = R>) -> Self {
        for (number, row) in rows.into_iter().enumerate() {
            self.text.push_str(if number == 0 { "(" } else { ", (" });
            for (column, value) in row.into_iter().enumerate() {
                if column > 0 {
                    self.text.push_str(", ");
                }
                self.place(value);
            }
            self.text.push(')');
        }
        self
    }

    fn place(&mut self, value: Value) {
        self.values.push(value);
        match self.backend {
            DbBackend::Postgres => {
                self.text.push('$');
                self.text.push_str(&self.values.len().to_string());
            }
            // Never numbered on SQLite: it looks names of parameters up one by one, which is quadratic.
            _ => self.text.push('?'),
        }
    }

    fn travels_with(&self, next: &Self) -> bool {
        self.backend == DbBackend::Sqlite && self.values.len() + next.values.len() <= TOGETHER_VALUES
    }

    /// Ends the statement.
    pub(in crate::store) fn end(self) -> Statement {
        Statement {
            sql: self.text,
            values: Some(Values(self.values)),
            db_backend: self.backend,
        }
    }
}

/// Values of statements that travel together: what a task on a few agents needs. More would make texts that differ with
/// every number of agents, and each new text is prepared anew.
const TOGETHER_VALUES: usize = 256;

/// Statements that are run in order. SQLite lives in a thread of its own and every trip there costs more than a small
/// statement does: several go in one trip. PostgreSQL gets them one by one.
#[derive(Debug, Default)]
pub(in crate::store) struct Batch {
    statements: Vec<Sql>,
}

impl Batch {
    /// Adds a statement.
    pub(in crate::store) fn add(&mut self, sql: Sql) {
        match self.statements.last_mut() {
            Some(last) if last.travels_with(&sql) => {
                last.text.push_str("; ");
                last.text.push_str(&sql.text);
                last.values.extend(sql.values);
            }
            _ => self.statements.push(sql),
        }
    }

    /// Runs them, and returns the rows that they return, in order.
    pub(in crate::store) async fn rows(self, tx: &impl ConnectionTrait) -> Result<Vec<QueryResult>, DbErr> {
        let mut rows = Vec::new();
        for sql in self.statements {
            rows.extend(tx.query_all_raw(sql.end()).await?);
        }
        Ok(rows)
    }
}

/// Cuts a list into parts of which there are few sizes (the largest, then powers of two), so that the statement of
/// each size is prepared once and found in the cache from then on.
pub(in crate::store) fn parts<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match list.len() {
            0 => return None,
            length if length >= MOST_ROWS => MOST_ROWS,
            length => 1 << length.ilog2(),
        };
        let (part, rest) = list.split_at_checked(size)?;
        list = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_everything_once_in_few_sizes() {
        let list: Vec<u32> = (0..1_303).collect();
        let sizes: Vec<_> = parts(&list).map(<[u32]>::len).collect();
        assert_eq!(sizes, [512, 512, 256, 16, 4, 2, 1]);
        assert_eq!(parts(&list).flatten().copied().collect::<Vec<_>>(), list);
        assert_eq!(parts::<u32>(&[]).count(), 0);
    }

    #[test]
    fn small_statements_travel_together_on_sqlite_only() {
        let statement = |backend, count: i32| Sql::new(backend, "INSERT ").rows((0..count).map(|n| [Value::from(n)]));
        let texts = |backend| {
            let mut batch = Batch::default();
            for count in [1, 2, 256, 1] {
                batch.add(statement(backend, count));
            }
            batch.statements.into_iter().map(|sql| sql.text).collect::<Vec<_>>()
        };
        let sqlite = texts(DbBackend::Sqlite);
        assert_eq!(sqlite.len(), 3, "the large one goes alone");
        assert_eq!(sqlite.first().map(String::as_str), Some("INSERT (?); INSERT (?), (?)"));
        assert_eq!(texts(DbBackend::Postgres).len(), 4);
    }

    #[test]
    fn placeholders_are_numbered_on_postgres_only() {
        let make = |backend| {
            Sql::new(backend, "VALUES ").rows([[Value::from(1), Value::from(2)], [Value::from(3), Value::from(4)]])
        };
        assert_eq!(make(DbBackend::Postgres).end().sql, "VALUES ($1, $2), ($3, $4)");
        assert_eq!(make(DbBackend::Sqlite).end().sql, "VALUES (?, ?), (?, ?)");
    }
}
