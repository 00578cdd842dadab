//! Errors, notices and types in the server's own words.

use fallible_iterator::FallibleIterator as _;
use opslink::event::{ColumnKind, Level};
use postgres_protocol::message::backend::ErrorFields;

use super::super::error::{Error, Offset, Said};

/// What else the fields of an error or a notice hold.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// `ERROR`, `FATAL`, `NOTICE` …, never translated.
    pub(super) severity: String,
    /// The calls that led there.
    pub(super) context: String,
}

/// Reads the fields of an error or a notice about the statement `sql`.
pub(super) fn said(mut fields: ErrorFields<'_>, sql: &str) -> Result<(Said, Rest), Error> {
    let mut said = Said::default();
    let mut rest = Rest::default();
    while let Some(field) = fields.next()? {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'M' => said.message = value(),
            b'C' => said.code = value(),
            b'D' => said.detail = value(),
            b'H' => said.hint = value(),
            b'V' => rest.severity = value(),
            b'W' => rest.context = value(),
            // Characters from 1. That of an inner query ('p') is no place in the script.
            b'P' => {
                said.offset = value()
                    .parse::<usize>()
                    .ok()
                    .and_then(|position| sql.char_indices().nth(position.checked_sub(1)?))
                    .map(|(offset, _)| Offset::Byte(offset));
            }
            _ => {}
        }
    }
    Ok((said, rest))
}

/// A notice as psql prints it: its sentence, then DETAIL and HINT; for warnings also where they come from.
pub(super) fn notice(said: &Said, rest: &Rest) -> (Level, String) {
    let level = if rest.severity == "WARNING" {
        Level::Warning
    } else {
        Level::Info
    };
    let mut text = said.message.clone();
    let context = if level == Level::Warning {
        rest.context.as_str()
    } else {
        ""
    };
    for (word, part) in [
        ("DETAIL", said.detail.as_str()),
        ("HINT", said.hint.as_str()),
        ("CONTEXT", context),
    ] {
        if !part.is_empty() {
            text.push_str(&format!("\n{word}:  {part}"));
        }
    }
    (level, text)
}

/// The name and the kind of a built-in type, by its number (`pg_type.dat` of the server). Types that people made have
/// no fixed one, and a question about them would be a statement that the script did not ask for.
pub(super) fn type_of(oid: u32) -> (&'static str, ColumnKind) {
    use ColumnKind::{Bool, Bytes, Json, Number, Text, Time};
    match oid {
        16 => ("BOOL", Bool),
        17 => ("BYTEA", Bytes),
        18 => ("\"CHAR\"", Text),
        19 => ("NAME", Text),
        20 => ("INT8", Number),
        21 => ("INT2", Number),
        23 => ("INT4", Number),
        24 => ("REGPROC", Text),
        25 => ("TEXT", Text),
        26 => ("OID", Number),
        28 => ("XID", Number),
        114 => ("JSON", Json),
        142 => ("XML", Text),
        194 => ("PG_NODE_TREE", Text),
        600 => ("POINT", Text),
        650 => ("CIDR", Text),
        700 => ("FLOAT4", Number),
        701 => ("FLOAT8", Number),
        705 => ("UNKNOWN", Text),
        774 => ("MACADDR8", Text),
        790 => ("MONEY", Number),
        829 => ("MACADDR", Text),
        869 => ("INET", Text),
        1000 => ("BOOL[]", Text),
        1001 => ("BYTEA[]", Text),
        1003 => ("NAME[]", Text),
        1005 => ("INT2[]", Text),
        1007 => ("INT4[]", Text),
        1009 => ("TEXT[]", Text),
        1015 => ("VARCHAR[]", Text),
        1016 => ("INT8[]", Text),
        1021 => ("FLOAT4[]", Text),
        1022 => ("FLOAT8[]", Text),
        1028 => ("OID[]", Text),
        1034 => ("ACLITEM[]", Text),
        1042 => ("CHAR", Text),
        1043 => ("VARCHAR", Text),
        1082 => ("DATE", Time),
        1083 => ("TIME", Time),
        1114 => ("TIMESTAMP", Time),
        1115 => ("TIMESTAMP[]", Text),
        1182 => ("DATE[]", Text),
        1184 => ("TIMESTAMPTZ", Time),
        1185 => ("TIMESTAMPTZ[]", Text),
        1186 => ("INTERVAL", Text),
        1231 => ("NUMERIC[]", Text),
        1266 => ("TIMETZ", Time),
        1560 => ("BIT", Text),
        1562 => ("VARBIT", Text),
        1700 => ("NUMERIC", Number),
        2205 => ("REGCLASS", Text),
        2206 => ("REGTYPE", Text),
        2249 => ("RECORD", Text),
        2278 => ("VOID", Text),
        2950 => ("UUID", Text),
        2951 => ("UUID[]", Text),
        3220 => ("PG_LSN", Text),
        3614 => ("TSVECTOR", Text),
        3615 => ("TSQUERY", Text),
        3802 => ("JSONB", Json),
        3807 => ("JSONB[]", Text),
        3904 => ("INT4RANGE", Text),
        3906 => ("NUMRANGE", Text),
        3908 => ("TSRANGE", Text),
        3910 => ("TSTZRANGE", Text),
        3912 => ("DATERANGE", Text),
        3926 => ("INT8RANGE", Text),
        _ => ("USER-DEFINED", Text),
    }
}
