//! MySQL and MariaDB, by the text protocol.

use std::{str::FromStr as _, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use opslink::event::{ColumnKind, TableColumn};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Error, Executor as _, MySqlConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _,
    mysql::{MySqlColumn, MySqlConnectOptions, MySqlQueryResult, MySqlRow},
    raw_sql,
};

use super::{
    error::{self, Offset},
    postgres::timed,
    session::{Done, Killer, OpenError, Session, drain},
    table::Tables,
};
use crate::connections::Connection;

struct Mysql {
    connection: MySqlConnection,
    options: MySqlConnectOptions,
    thread: u64,
}

/// Opens a connection.
pub(super) async fn open(connection: &Connection, read_only: bool) -> Result<Box<dyn Session>, OpenError> {
    let url = connection.url.expose().replacen("mariadb:", "mysql:", 1);
    // The server's own SQL mode and time zone: a script must do here what it does in the server's own client.
    let mut options = MySqlConnectOptions::from_str(&url)?
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .set_names(true)
        .timezone(None);
    if let Some(password) = connection.password().map_err(OpenError::Secret)? {
        options = options.password(password.expose());
    }
    let mut connection = timed(options.connect()).await?;
    let thread: u64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
        .fetch_one(&mut connection)
        .await?;
    if read_only {
        raw_sql("SET SESSION TRANSACTION READ ONLY")
            .execute(&mut connection)
            .await?;
    }
    Ok(Box::new(Mysql {
        connection,
        options,
        thread,
    }))
}

#[async_trait]
impl Session for Mysql {
    async fn execute(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error> {
        let sets = tables.sets();
        let items = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(&mut self.connection);
        let done = drain(items, tables, MySqlQueryResult::rows_affected, row).await?;
        let is_select = sql.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
        if tables.sets() == sets
            && is_select
            && let Ok(statement) = (&mut self.connection)
                .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
                .await
        {
            tables.empty_set(statement.columns().iter().map(column).collect()).await;
            return Ok(Done::default());
        }
        Ok(done)
    }

    async fn copy_in(&mut self, _: &str, _: Bytes) -> Result<Done, Error> {
        Err(Error::Protocol("COPY is a statement of PostgreSQL".into()))
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(KillQuery {
            options: self.options.clone(),
            thread: self.thread,
        })
    }

    fn offset(&self, error: &Error, sql: &str) -> Option<Offset> {
        error::mysql_offset(error, sql)
    }

    fn commits_ddl(&self) -> bool {
        true
    }

    async fn close(self: Box<Self>) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.connection.close()).await;
    }
}

struct KillQuery {
    options: MySqlConnectOptions,
    thread: u64,
}

#[async_trait]
impl Killer for KillQuery {
    async fn kill(&self) -> Result<(), Error> {
        let mut connection = timed(self.options.connect()).await?;
        raw_sql(AssertSqlSafe(format!("KILL QUERY {}", self.thread)))
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

fn row(row: &MySqlRow, tables: &mut Tables) -> Result<(), Error> {
    tables.begin_row(|| row.columns().iter().map(column).collect());
    for (index, column) in row.columns().iter().enumerate() {
        // The text protocol sends every value as text, whatever its type.
        let text: Option<&[u8]> = row.try_get_unchecked(index)?;
        match text {
            Some(bytes) if kind(column.type_info().name()) == ColumnKind::Bytes => {
                tables.cell(index, Some(hex::encode(bytes).as_bytes()));
            }
            text => tables.cell(index, text),
        }
    }
    tables.end_row();
    Ok(())
}

fn column(column: &MySqlColumn) -> TableColumn {
    let type_name = column.type_info().name().to_owned();
    TableColumn {
        name: column.name().to_owned(),
        kind: kind(&type_name),
        type_name,
    }
}

fn kind(type_name: &str) -> ColumnKind {
    match type_name.trim_end_matches(" UNSIGNED") {
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "FLOAT" | "DOUBLE" | "DECIMAL" | "YEAR" => {
            ColumnKind::Number
        }
        "BOOLEAN" => ColumnKind::Bool,
        "DATE" | "TIME" | "DATETIME" | "TIMESTAMP" => ColumnKind::Time,
        "JSON" => ColumnKind::Json,
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "BIT" | "GEOMETRY" => {
            ColumnKind::Bytes
        }
        _ => ColumnKind::Text,
    }
}
