//! Rows to records. What cannot be read is [`Error::Corrupt`], never a guess.

use opslink::{
    pb,
    task::{ExecutionState, Outcome},
};
use prost::Message;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Statement};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::failure::{Outcome as Answer, corrupt, describe};
use crate::store::{Error, Result, record::Role};

/// Large numbers never get near this; a value above says so instead of wrapping.
pub(in crate::store) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(in crate::store) fn count<T: TryFrom<i64>>(what: &'static str, value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| corrupt(what, format!("{value} is out of range")))
}

pub(in crate::store) fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| corrupt(what, error))
}

pub(in crate::store) fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what, error))
}

pub(in crate::store) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

pub(in crate::store) fn role(word: &str) -> Result<Role> {
    [Role::Viewer, Role::Operator, Role::Admin]
        .into_iter()
        .find(|role| role_word(*role) == word)
        .ok_or_else(|| corrupt("role", format!("`{word}` is no role")))
}

pub(in crate::store) fn state(word: &str) -> Result<ExecutionState> {
    ExecutionState::from_word(word).ok_or_else(|| corrupt("execution state", format!("`{word}` is no state")))
}

pub(in crate::store) fn outcome_bytes(outcome: Option<&Outcome>) -> Option<Vec<u8>> {
    outcome.map(|outcome| pb::Outcome::from(outcome.clone()).encode_to_vec())
}

pub(in crate::store) fn outcome(bytes: Option<Vec<u8>>) -> Result<Option<Outcome>> {
    let Some(bytes) = bytes else { return Ok(None) };
    let message = pb::Outcome::decode(bytes.as_slice()).map_err(|error| corrupt("outcome", error))?;
    Outcome::try_from(message)
        .map(Some)
        .map_err(|error| corrupt("outcome", error))
}

/// Reads every row, or fails at the first unreadable one.
pub(in crate::store) fn records<M, R: TryFrom<M, Error = Error>>(rows: Vec<M>) -> Result<Vec<R>> {
    rows.into_iter().map(R::try_from).collect()
}

/// Which rows are read, for whoever has to mend one: what they are, and the columns of their key.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Named {
    what: &'static str,
    key: &'static [&'static str],
}

impl Named {
    pub(in crate::store) const fn new(what: &'static str, key: &'static [&'static str]) -> Self {
        Self { what, key }
    }
}

/// Reads the rows that can be read. One that cannot is told, with its key, and left out: it costs itself only.
pub(in crate::store) fn readable<M, R>(named: Named, rows: &[QueryResult]) -> Vec<R>
where
    M: FromQueryResult,
    R: TryFrom<M, Error = Error>,
{
    let read = |row: &QueryResult| -> Result<R> {
        let model = M::from_query_result(row, "").map_err(|error| describe(&error))?;
        R::try_from(model)
    };
    let told = |row: &QueryResult| {
        let read = read(row);
        let tell =
            |error: &Error| tracing::error!(what = named.what, key = key_of(named, row), %error, "a row is left out");
        read.inspect_err(tell).ok()
    };
    rows.iter().filter_map(told).collect()
}

/// Rows that are read at once behind damaged ones.
const READ_ON: u64 = 1_024;

/// The same for a list with a limit: what is left out makes room for the next, so that fewer than `limit` mean that there
/// are no more. `select` is the question with a limit, behind a place in its order, and `place_of` the place of a row: what
/// was read is not read again, so many damaged rows cost as much as many others.
pub(in crate::store) async fn readable_page<M, R, P>(
    db: &impl ConnectionTrait,
    named: Named,
    limit: u32,
    select: impl Fn(Option<&P>, u64) -> Statement,
    place_of: impl Fn(&QueryResult) -> std::result::Result<P, DbErr>,
) -> Answer<Vec<R>>
where
    M: FromQueryResult,
    R: TryFrom<M, Error = Error>,
{
    let most = READ_ON.max(limit.into());
    let mut ask = u64::from(limit);
    let mut behind: Option<P> = None;
    let mut found: Vec<R> = Vec::new();
    loop {
        let rows = db.query_all_raw(select(behind.as_ref(), ask)).await?;
        found.extend(readable::<M, R>(named, &rows));
        if (rows.len() as u64) < ask || found.len() >= limit as usize {
            found.truncate(limit as usize);
            return Ok(found);
        }
        ask = ask.saturating_mul(2);
        // A row that does not even say its place was left out too: it comes again, and what is found does not.
        if let Some(place) = rows.iter().rev().find_map(|row| place_of(row).ok()) {
            behind = Some(place);
            ask = ask.min(most);
        }
    }
}

/// The key of a row as text; `?` for what of it cannot be read either.
fn key_of(named: Named, row: &QueryResult) -> String {
    let column = |column: &&str| {
        let id = row.try_get::<Uuid>("", column).map(|id| id.to_string());
        let number = |_| row.try_get::<i64>("", column).map(|number| number.to_string());
        id.or_else(number).unwrap_or_else(|_| "?".to_owned())
    };
    let columns: Vec<String> = named.key.iter().map(column).collect();
    columns.join("/")
}
