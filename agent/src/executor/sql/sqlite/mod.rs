//! SQLite files, with the settings of SQLite's own shell: foreign keys are not checked unless the script says so.

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use opslink::event::{ColumnKind, TableColumn};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, Row as _, SqlSafeStr as _,
    SqliteConnection, Statement as _, TypeInfo as _, ValueRef as _, raw_sql,
    sqlite::{SqliteColumn, SqliteConnectOptions, SqliteRow},
};

use super::{
    error::{Error, Offset, Said, only_match},
    session::{CONNECT_TIMEOUT, Done, FLUSH_AFTER, Killer, OpenError, Sent, Session, Transaction, timed},
    table::Tables,
};
use crate::connections::Connection;

/// Instructions of SQLite's machine between two looks at the flag: well below a millisecond.
const PROGRESS_STEPS: i32 = 10_000;

struct Sqlite {
    connection: SqliteConnection,
    interrupted: Arc<AtomicBool>,
    is_open: bool,
    /// SQLite ended a transaction by itself (ON CONFLICT ROLLBACK, a full disk).
    rolled_back: Arc<AtomicBool>,
    is_read_only: bool,
}

/// Opens a file; it is made when it is missing, as SQLite's own shell does, unless `read_only`.
pub(super) async fn open(connection: &Connection, read_only: bool) -> Result<Box<dyn Session>, OpenError> {
    let options = SqliteConnectOptions::from_str(connection.url.expose())
        .map_err(|error| Error::Config(error.to_string()))?
        .read_only(read_only)
        .create_if_missing(!read_only)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(10));
    let opening = async { options.connect().await.map_err(|error| error_of(error, "")) };
    let mut connection = timed(CONNECT_TIMEOUT, opening).await?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let rolled_back = Arc::new(AtomicBool::new(false));
    let (flag, back) = (Arc::clone(&interrupted), Arc::clone(&rolled_back));
    {
        let mut handle = connection.lock_handle().await.map_err(|error| error_of(error, ""))?;
        // The flag is taken back when it is seen: it ends one statement, not the session.
        handle.set_progress_handler(PROGRESS_STEPS, move || !flag.swap(false, Ordering::SeqCst));
        handle.set_rollback_hook(move || back.store(true, Ordering::SeqCst));
    }
    Ok(Box::new(Sqlite {
        connection,
        interrupted,
        is_open: false,
        rolled_back,
        is_read_only: read_only,
    }))
}

#[async_trait]
impl Session for Sqlite {
    async fn execute(&mut self, sent: Sent<'_>, tables: &mut Tables) -> Result<Done, Error> {
        self.interrupted.store(false, Ordering::SeqCst);
        self.rolled_back.store(false, Ordering::SeqCst);
        let result = self.run(sent.sql, tables).await;
        tables.end_set().await;
        let word = first_word(sent.sql);
        match word.as_str() {
            "BEGIN" if result.is_ok() => self.is_open = true,
            "COMMIT" | "END" if result.is_ok() => self.is_open = false,
            _ => {}
        }
        if self.rolled_back.load(Ordering::SeqCst) || (word == "ROLLBACK" && result.is_ok() && !is_to(sent.sql)) {
            self.is_open = false;
        }
        result
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(Interrupt(Arc::clone(&self.interrupted)))
    }

    fn transaction(&self) -> Transaction {
        if self.is_open {
            Transaction::Open
        } else {
            Transaction::None
        }
    }

    fn is_read_only_by_itself(&self) -> bool {
        self.is_read_only
    }

    async fn begin_read_only(&mut self) -> Result<(), Error> {
        self.execute(Sent::sql("BEGIN"), &mut Tables::silent()).await.map(drop)
    }

    async fn make_read_only(&mut self, _: bool) -> Result<(), Error> {
        Ok(())
    }

    async fn close(self: Box<Self>) {
        let _ = tokio::time::timeout(super::CLOSE_LIMIT, self.connection.close()).await;
    }
}

impl Sqlite {
    async fn run(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error> {
        let wrong = |error| error_of(error, sql);
        let mut affected = 0;
        let mut has_set = false;
        {
            let mut items = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(&mut self.connection);
            loop {
                let mut next = items.next();
                let item = match futures::poll!(&mut next) {
                    std::task::Poll::Ready(item) => item,
                    std::task::Poll::Pending if tables.has_pending() => {
                        match tokio::time::timeout(FLUSH_AFTER, &mut next).await {
                            Ok(item) => item,
                            Err(_) => {
                                tables.flush().await;
                                next.await
                            }
                        }
                    }
                    std::task::Poll::Pending => next.await,
                };
                match item.transpose().map_err(wrong)? {
                    Some(Either::Right(row)) => {
                        if !has_set {
                            tables.begin_set(row.columns().iter().map(column).collect());
                            has_set = true;
                        }
                        write_row(&row, tables).await.map_err(wrong)?;
                    }
                    Some(Either::Left(result)) => affected += result.rows_affected(),
                    None => break,
                }
            }
        }
        if has_set {
            return Ok(Done::default());
        }
        if let Ok(statement) = (&mut self.connection)
            .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
            .await
            && !statement.columns().is_empty()
        {
            tables.begin_set(statement.columns().iter().map(column).collect());
            return Ok(Done::default());
        }
        // SQLite repeats the last count for statements that have none.
        Ok(Done {
            affected: is_change(sql).then_some(affected),
        })
    }
}

/// Turns the driver's error about the statement `sql` into ours.
fn error_of(error: sqlx::Error, sql: &str) -> Error {
    match error {
        sqlx::Error::Database(database) => Error::Said(Box::new(Said {
            offset: offset(database.message(), sql),
            message: database.message().to_owned(),
            code: database.code().unwrap_or_default().into_owned(),
            ..Said::default()
        })),
        sqlx::Error::Io(error) => Error::Io(error),
        sqlx::Error::Configuration(error) => Error::Config(error.to_string()),
        // The driver's list is open; what it says itself is all that is known.
        other => Error::Protocol(other.to_string()),
    }
}

/// SQLite says `near "word": syntax error`, or `no such column: word`.
fn offset(message: &str, sql: &str) -> Option<Offset> {
    let near = message
        .split_once("near \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(word, _)| word);
    let named = ["no such table: ", "no such column: ", "no such function: "]
        .iter()
        .find_map(|prefix| message.split_once(prefix).map(|(_, word)| word.trim()));
    only_match(sql, near.or(named)?).map(Offset::Byte)
}

struct Interrupt(Arc<AtomicBool>);

#[async_trait]
impl Killer for Interrupt {
    async fn ask(&self) -> Result<(), Error> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn end_session(&self) -> Result<(), Error> {
        // The database is this process: what was not committed goes with it.
        Ok(())
    }
}

async fn write_row(row: &SqliteRow, tables: &mut Tables) -> Result<(), sqlx::Error> {
    // Numbers are short; what can be large is told by its length.
    let mut size = 0;
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        size += match value.type_info().name() {
            "INTEGER" | "BOOLEAN" | "REAL" | "NULL" => 0,
            "BLOB" => row.try_get_unchecked::<&[u8], _>(index)?.len() * 2,
            _ => row.try_get_unchecked::<&[u8], _>(index)?.len(),
        };
    }
    if size > super::table::ROW_MAX {
        return Err(sqlx::Error::Protocol(format!(
            "a row of {size} bytes is more than can be kept of one"
        )));
    }
    if !tables.begin_row(size).await {
        return Ok(());
    }
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        // Every cell has a type of its own.
        let type_info = value.type_info();
        match type_info.name() {
            _ if value.is_null() => tables.cell(index, None),
            "INTEGER" | "BOOLEAN" => {
                let text = row.try_get_unchecked::<i64, _>(index)?.to_string();
                tables.cell(index, Some(text.as_bytes()));
            }
            "REAL" => {
                // `{:?}` keeps the point of a whole number, as SQLite's shell does.
                let text = format!("{:?}", row.try_get_unchecked::<f64, _>(index)?);
                tables.cell(index, Some(text.as_bytes()));
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
    tables.end_row().await;
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

fn first_word(sql: &str) -> String {
    sql.chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_uppercase()
}

/// `ROLLBACK [TRANSACTION] TO savepoint` leaves the transaction open.
fn is_to(sql: &str) -> bool {
    sql.split_whitespace().any(|word| word.eq_ignore_ascii_case("to"))
}

fn is_change(sql: &str) -> bool {
    matches!(
        first_word(sql).as_str(),
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH"
    )
}
