//! Errors and types in the server's own words.

use mysql_async::{
    Column, DriverError, Error as Driver, IoError,
    consts::{ColumnFlags, ColumnType},
};
use opslink::event::{ColumnKind, TableColumn};

use super::super::error::{Error, Offset, Said, only_match};

/// The character set that means bytes.
const BINARY: u16 = 63;

/// Turns the driver's error about the statement `sql` into ours.
pub(super) fn error_of(error: Driver, sql: &str) -> Error {
    match error {
        Driver::Server(server) => Error::Said(Box::new(Said {
            offset: offset(&server.message, sql),
            message: server.message,
            // The number is what people look up; SQLSTATE is HY000 for most.
            code: server.code.to_string(),
            ..Said::default()
        })),
        Driver::Io(IoError::Io(error)) if error.to_string().contains("acket too large") => too_large(),
        Driver::Io(IoError::Io(error)) => Error::Io(error),
        Driver::Io(IoError::Tls(error)) => Error::Tls(error.to_string()),
        Driver::Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::Tls("the server does not offer TLS".to_owned())
        }
        Driver::Driver(DriverError::PacketTooLarge) => too_large(),
        Driver::Driver(DriverError::ConnectionClosed) => Error::Io(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        )),
        Driver::Driver(
            error @ (DriverError::UnknownAuthPlugin { .. }
            | DriverError::CleartextPluginDisabled
            | DriverError::MysqlOldPasswordDisabled),
        ) => Error::said("28000", error.to_string()),
        Driver::Driver(error) => Error::Protocol(error.to_string()),
        Driver::Other(error) => Error::Protocol(error.to_string()),
        Driver::Url(error) => Error::Config(error.to_string()),
    }
}

fn too_large() -> Error {
    Error::Protocol(
        "a row is larger than 64 MiB, the most that can be kept of one; the connection was given up".to_owned(),
    )
}

/// MySQL ends its syntax errors with `near '…' at line N`, counted from the statement's first line.
fn offset(message: &str, sql: &str) -> Option<Offset> {
    let (before, line) = message.rsplit_once("at line ")?;
    let line: u32 = line.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let near = before
        .rsplit_once("near '")
        .map(|(_, near)| near.trim_end().trim_end_matches('\''));
    // The quoted rest of the statement stands in it word for word, once: then the column is known too.
    let found = near
        .filter(|near| !near.is_empty())
        .and_then(|near| only_match(sql, near));
    Some(found.map_or(Offset::Line(line), Offset::Byte))
}

pub(super) fn column(column: &Column) -> TableColumn {
    let (type_name, kind) = type_of(column);
    let unsigned = kind == ColumnKind::Number && column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    TableColumn {
        name: column.name_str().into_owned(),
        type_name: if unsigned {
            format!("{type_name} UNSIGNED")
        } else {
            type_name.to_owned()
        },
        kind,
    }
}

/// Whether the values of a column are bytes and no text: their character set says so, their collation (`_bin`) does not.
pub(super) fn is_binary(column: &Column) -> bool {
    type_of(column).1 == ColumnKind::Bytes
}

fn type_of(column: &Column) -> (&'static str, ColumnKind) {
    use ColumnKind::{Bool, Bytes, Json, Number, Text, Time};
    use ColumnType as T;
    let is_bytes = column.character_set() == BINARY;
    let flags = column.flags();
    match column.column_type() {
        // BOOLEAN is a word for TINYINT(1).
        T::MYSQL_TYPE_TINY if column.column_length() == 1 => ("BOOLEAN", Bool),
        T::MYSQL_TYPE_TINY => ("TINYINT", Number),
        T::MYSQL_TYPE_SHORT => ("SMALLINT", Number),
        T::MYSQL_TYPE_INT24 => ("MEDIUMINT", Number),
        T::MYSQL_TYPE_LONG => ("INT", Number),
        T::MYSQL_TYPE_LONGLONG => ("BIGINT", Number),
        T::MYSQL_TYPE_FLOAT => ("FLOAT", Number),
        T::MYSQL_TYPE_DOUBLE => ("DOUBLE", Number),
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => ("DECIMAL", Number),
        T::MYSQL_TYPE_YEAR => ("YEAR", Number),
        T::MYSQL_TYPE_NULL => ("NULL", Text),
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => ("DATE", Time),
        T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => ("TIME", Time),
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => ("DATETIME", Time),
        T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => ("TIMESTAMP", Time),
        T::MYSQL_TYPE_BIT => ("BIT", Bytes),
        T::MYSQL_TYPE_JSON => ("JSON", Json),
        T::MYSQL_TYPE_GEOMETRY => ("GEOMETRY", Bytes),
        T::MYSQL_TYPE_VECTOR => ("VECTOR", Bytes),
        T::MYSQL_TYPE_ENUM => ("ENUM", Text),
        T::MYSQL_TYPE_SET => ("SET", Text),
        T::MYSQL_TYPE_STRING | T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR
            if flags.contains(ColumnFlags::ENUM_FLAG) =>
        {
            ("ENUM", Text)
        }
        T::MYSQL_TYPE_STRING | T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR
            if flags.contains(ColumnFlags::SET_FLAG) =>
        {
            ("SET", Text)
        }
        T::MYSQL_TYPE_STRING if is_bytes => ("BINARY", Bytes),
        T::MYSQL_TYPE_STRING => ("CHAR", Text),
        T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR if is_bytes => ("VARBINARY", Bytes),
        T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR => ("VARCHAR", Text),
        T::MYSQL_TYPE_TINY_BLOB | T::MYSQL_TYPE_MEDIUM_BLOB | T::MYSQL_TYPE_LONG_BLOB | T::MYSQL_TYPE_BLOB
            if is_bytes =>
        {
            ("BLOB", Bytes)
        }
        T::MYSQL_TYPE_TINY_BLOB | T::MYSQL_TYPE_MEDIUM_BLOB | T::MYSQL_TYPE_LONG_BLOB | T::MYSQL_TYPE_BLOB => {
            ("TEXT", Text)
        }
        T::MYSQL_TYPE_TYPED_ARRAY | T::MYSQL_TYPE_UNKNOWN => ("UNKNOWN", Text),
    }
}
