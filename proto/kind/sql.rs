//! `sql`: statements for a database that the machine reaches.

use std::time::Duration;

use super::{Kind, Needs, script};
use crate::{
    convert::{InvalidMessage, non_empty, whole_secs},
    pb,
};

/// SQL statements.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlSpec {
    /// The statements, never blank.
    pub script: String,
    /// Name of a connection of the agent; its default when absent.
    pub connection: Option<String>,
    /// How statements are grouped.
    pub transaction: SqlTransaction,
    /// What happens after a failed statement.
    pub on_error: SqlOnError,
    /// Rows kept of each result set.
    pub max_rows: Option<u64>,
    /// Longest time of one statement.
    pub statement_timeout: Option<Duration>,
    /// Opens the session read only.
    pub read_only: bool,
    /// File name at the caller, for messages.
    pub name: String,
}

/// How statements are grouped into transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SqlTransaction {
    /// The database's own autocommit.
    #[default]
    PerStatement,
    /// All in one; the first error rolls back everything.
    Single,
}

/// What happens after a failed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SqlOnError {
    /// Nothing more is sent.
    #[default]
    Stop,
    /// The next statement is sent; the attempt still ends as failed.
    Continue,
}

impl Kind for SqlSpec {
    type Wire = pb::SqlSpec;

    const NAME: &'static str = "sql";

    /// The script's name, or its text on one line.
    fn summary(&self) -> String {
        if self.name.is_empty() {
            self.script.split_whitespace().collect::<Vec<_>>().join(" ")
        } else {
            self.name.clone()
        }
    }

    fn needs(&self) -> Needs {
        Needs { connections: true }
    }
}

impl TryFrom<pb::SqlSpec> for SqlSpec {
    type Error = InvalidMessage;

    fn try_from(sql: pb::SqlSpec) -> Result<Self, InvalidMessage> {
        let field = "spec.sql.script";
        script::check(field, &sql.script_name, &sql.script)?;
        // Some editors put a byte order mark first; no database knows what to do with it.
        let bytes = sql.script.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&sql.script);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let reason = format!("is not UTF-8 (first bad byte at offset {})", error.valid_up_to());
                return Err(script::binary(field, &sql.script_name, reason));
            }
        };
        if text.trim().is_empty() {
            return Err(script::empty(field, &sql.script_name));
        }
        let transaction = match sql.transaction() {
            pb::SqlTransaction::Unspecified | pb::SqlTransaction::PerStatement => SqlTransaction::PerStatement,
            pb::SqlTransaction::Single => SqlTransaction::Single,
        };
        let on_error = match sql.on_error() {
            pb::SqlOnError::Unspecified | pb::SqlOnError::Stop => SqlOnError::Stop,
            pb::SqlOnError::Continue => SqlOnError::Continue,
        };
        if transaction == SqlTransaction::Single && on_error == SqlOnError::Continue {
            return Err(InvalidMessage::new(
                "spec.sql.on_error",
                "cannot be CONTINUE with a single transaction: the first error rolls back everything",
            ));
        }
        Ok(Self {
            script: text,
            connection: non_empty(sql.connection),
            transaction,
            on_error,
            max_rows: if sql.max_rows == 0 { None } else { Some(sql.max_rows) },
            statement_timeout: match sql.statement_timeout_secs {
                0 => None,
                secs => Some(Duration::from_secs(secs.into())),
            },
            read_only: sql.read_only,
            name: sql.script_name,
        })
    }
}

impl From<SqlSpec> for pb::SqlSpec {
    fn from(sql: SqlSpec) -> Self {
        let transaction = match sql.transaction {
            SqlTransaction::PerStatement => pb::SqlTransaction::PerStatement,
            SqlTransaction::Single => pb::SqlTransaction::Single,
        };
        let on_error = match sql.on_error {
            SqlOnError::Stop => pb::SqlOnError::Stop,
            SqlOnError::Continue => pb::SqlOnError::Continue,
        };
        Self {
            script: sql.script.into(),
            connection: sql.connection.unwrap_or_default(),
            transaction: transaction.into(),
            on_error: on_error.into(),
            max_rows: sql.max_rows.unwrap_or(0),
            statement_timeout_secs: sql.statement_timeout.map_or(0, whole_secs),
            read_only: sql.read_only,
            script_name: sql.name,
        }
    }
}
