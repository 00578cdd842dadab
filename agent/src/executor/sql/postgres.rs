//! PostgreSQL, by its simple query protocol: values come as the text that psql would print.

use std::{str::FromStr as _, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use opslink::event::{ColumnKind, EventBody, Stream, TableColumn};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Error, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
    postgres::{PgColumn, PgConnectOptions, PgQueryResult, PgRow},
    raw_sql,
};

use super::{
    error::{self, Offset},
    session::{CONNECT_TIMEOUT, Done, Killer, OpenError, Session, drain},
    table::{Tables, now},
};
use crate::connections::Connection;

struct Postgres {
    connection: PgConnection,
    options: PgConnectOptions,
    backend: i32,
}

/// Opens a connection.
pub(super) async fn open(connection: &Connection, read_only: bool) -> Result<Box<dyn Session>, OpenError> {
    let mut options = PgConnectOptions::from_str(connection.url.expose())?.application_name("opslink");
    if let Some(password) = connection.password().map_err(OpenError::Secret)? {
        options = options.password(password.expose());
    }
    if read_only {
        options = options.options([("default_transaction_read_only", "on")]);
    }
    let mut connection = timed(options.connect()).await?;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await?;
    Ok(Box::new(Postgres {
        connection,
        options,
        backend,
    }))
}

/// Bounds a connection attempt.
pub(super) async fn timed<T>(connecting: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            Err(Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
        })
}

#[async_trait]
impl Session for Postgres {
    async fn execute(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error> {
        if is_copy_to_stdout(sql) {
            return self.copy_out(sql, tables).await;
        }
        let sets = tables.sets();
        let items = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(&mut self.connection);
        let done = drain(items, tables, PgQueryResult::rows_affected, row).await?;
        // A SELECT without rows has columns all the same; the protocol's driver keeps them to itself.
        if tables.sets() == sets
            && returns_rows(sql)
            && let Ok(statement) = (&mut self.connection)
                .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
                .await
            && !statement.columns().is_empty()
        {
            tables.empty_set(statement.columns().iter().map(column).collect()).await;
            return Ok(Done::default());
        }
        Ok(done)
    }

    async fn copy_in(&mut self, sql: &str, data: Bytes) -> Result<Done, Error> {
        let mut copy = self.connection.copy_in_raw(sql).await?;
        // Pieces of the size that the server reads.
        for piece in data.chunks(64 * 1024) {
            copy.send(piece).await?;
        }
        Ok(Done {
            affected: Some(copy.finish().await?),
        })
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(CancelBackend {
            options: self.options.clone(),
            backend: self.backend,
        })
    }

    fn offset(&self, error: &Error, sql: &str) -> Option<Offset> {
        error::postgres_offset(error, sql)
    }

    async fn close(self: Box<Self>) {
        // The server rolls back what is open; a server that is gone has done so already.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.connection.close()).await;
    }
}

impl Postgres {
    async fn copy_out(&mut self, sql: &str, tables: &Tables) -> Result<Done, Error> {
        let mut data = self.connection.copy_out_raw(sql).await?;
        while let Some(data) = data.next().await {
            tables
                .sink()
                .emit(now(EventBody::Output {
                    stream: Stream::Stdout,
                    data: data?,
                }))
                .await;
        }
        Ok(Done::default())
    }
}

struct CancelBackend {
    options: PgConnectOptions,
    backend: i32,
}

#[async_trait]
impl Killer for CancelBackend {
    async fn kill(&self) -> Result<(), Error> {
        let mut connection = timed(self.options.connect()).await?;
        sqlx::query("SELECT pg_cancel_backend($1)")
            .bind(self.backend)
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

fn row(row: &PgRow, tables: &mut Tables) -> Result<(), Error> {
    tables.begin_row(|| row.columns().iter().map(column).collect());
    for (index, column) in row.columns().iter().enumerate() {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            tables.cell(index, None);
            continue;
        }
        let text = value.as_bytes().map_err(Error::Decode)?;
        let is_hex = kind(column.type_info().name()) == ColumnKind::Bytes;
        tables.cell(
            index,
            Some(if is_hex {
                text.strip_prefix(b"\\x").unwrap_or(text)
            } else {
                text
            }),
        );
    }
    tables.end_row();
    Ok(())
}

fn column(column: &PgColumn) -> TableColumn {
    let type_name = column.type_info().name().to_owned();
    TableColumn {
        name: column.name().to_owned(),
        kind: kind(&type_name),
        type_name,
    }
}

fn kind(type_name: &str) -> ColumnKind {
    match type_name {
        "INT2" | "INT4" | "INT8" | "FLOAT4" | "FLOAT8" | "NUMERIC" | "OID" | "MONEY" => ColumnKind::Number,
        "BOOL" => ColumnKind::Bool,
        "DATE" | "TIME" | "TIMETZ" | "TIMESTAMP" | "TIMESTAMPTZ" => ColumnKind::Time,
        "JSON" | "JSONB" => ColumnKind::Json,
        "BYTEA" => ColumnKind::Bytes,
        _ => ColumnKind::Text,
    }
}

fn first_word(sql: &str) -> String {
    sql.chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_uppercase()
}

fn returns_rows(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "SELECT" | "VALUES" | "TABLE" | "WITH") || sql.starts_with('(')
}

fn is_copy_to_stdout(sql: &str) -> bool {
    let mut words = sql
        .rsplit(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty());
    first_word(sql) == "COPY" && words.any(|word| word.eq_ignore_ascii_case("stdout"))
}
