//! SQLite files.

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use opslink::event::{ColumnKind, TableColumn};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Error, Executor as _, Row as _, SqlSafeStr as _,
    SqliteConnection, Statement as _, TypeInfo as _, ValueRef as _, raw_sql,
    sqlite::{SqliteColumn, SqliteConnectOptions, SqliteQueryResult, SqliteRow},
};

use super::{
    error::{self, Offset},
    postgres::timed,
    session::{Done, Killer, OpenError, Session, drain},
    table::Tables,
};
use crate::connections::Connection;

/// Instructions of SQLite's machine between two looks at the flag: well below a millisecond.
const PROGRESS_STEPS: i32 = 10_000;

struct Sqlite {
    connection: SqliteConnection,
    interrupted: Arc<AtomicBool>,
}

/// Opens a file; it is made when it is missing, as SQLite's own shell does, unless `read_only`.
pub(super) async fn open(connection: &Connection, read_only: bool) -> Result<Box<dyn Session>, OpenError> {
    let options = SqliteConnectOptions::from_str(connection.url.expose())?
        .read_only(read_only)
        .create_if_missing(!read_only)
        .busy_timeout(Duration::from_secs(10));
    let mut connection = timed(options.connect()).await?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // The flag is taken back when it is seen: it ends one statement, not the session.
    connection
        .lock_handle()
        .await?
        .set_progress_handler(PROGRESS_STEPS, move || !flag.swap(false, Ordering::SeqCst));
    Ok(Box::new(Sqlite {
        connection,
        interrupted,
    }))
}

#[async_trait]
impl Session for Sqlite {
    async fn execute(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error> {
        self.interrupted.store(false, Ordering::SeqCst);
        let sets = tables.sets();
        let items = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(&mut self.connection);
        let done = drain(items, tables, SqliteQueryResult::rows_affected, row).await?;
        if tables.sets() == sets
            && let Ok(statement) = (&mut self.connection)
                .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
                .await
            && !statement.columns().is_empty()
        {
            tables.empty_set(statement.columns().iter().map(column).collect()).await;
            return Ok(Done::default());
        }
        // SQLite repeats the last count for statements that have none.
        Ok(if is_change(sql) { done } else { Done::default() })
    }

    async fn copy_in(&mut self, _: &str, _: Bytes) -> Result<Done, Error> {
        Err(Error::Protocol("COPY is a statement of PostgreSQL".into()))
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(Interrupt(Arc::clone(&self.interrupted)))
    }

    fn offset(&self, error: &Error, sql: &str) -> Option<Offset> {
        error::sqlite_offset(error, sql)
    }

    async fn close(self: Box<Self>) {
        let _ = self.connection.close().await;
    }
}

struct Interrupt(Arc<AtomicBool>);

#[async_trait]
impl Killer for Interrupt {
    async fn kill(&self) -> Result<(), Error> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn row(row: &SqliteRow, tables: &mut Tables) -> Result<(), Error> {
    tables.begin_row(|| row.columns().iter().map(column).collect());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        // Every cell has a type of its own.
        let type_info = value.type_info();
        match type_info.name() {
            _ if value.is_null() => tables.cell(index, None),
            "INTEGER" | "BOOLEAN" => {
                tables.cell_fmt(index, format_args!("{}", row.try_get_unchecked::<i64, _>(index)?))
            }
            "REAL" => {
                // `{:?}` keeps the point of a whole number, as SQLite's shell does.
                tables.cell_fmt(index, format_args!("{:?}", row.try_get_unchecked::<f64, _>(index)?));
            }
            "BLOB" => {
                let bytes: &[u8] = row.try_get_unchecked(index)?;
                tables.cell(index, Some(hex::encode(bytes).as_bytes()));
            }
            _ => {
                let bytes: &[u8] = row.try_get_unchecked(index)?;
                tables.cell(index, Some(bytes));
            }
        }
    }
    tables.end_row();
    Ok(())
}

fn column(column: &SqliteColumn) -> TableColumn {
    let type_name = column.type_info().name().to_owned();
    TableColumn {
        name: column.name().to_owned(),
        kind: kind(&type_name),
        type_name,
    }
}

fn kind(type_name: &str) -> ColumnKind {
    match type_name {
        "INTEGER" | "REAL" | "NUMERIC" | "BIGINT" => ColumnKind::Number,
        "BOOLEAN" => ColumnKind::Bool,
        "DATE" | "TIME" | "DATETIME" => ColumnKind::Time,
        "BLOB" => ColumnKind::Bytes,
        _ => ColumnKind::Text,
    }
}

fn is_change(sql: &str) -> bool {
    let word: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
    matches!(
        word.to_ascii_uppercase().as_str(),
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH"
    )
}
