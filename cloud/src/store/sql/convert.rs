//! Rows to records. What cannot be read is [`Error::Corrupt`], never a guess.

use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    pb,
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    super::{Error, Result, record::*},
    entity,
    failure::corrupt,
};

/// Large numbers never get near this; a value above says so instead of wrapping.
pub(super) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count<T: TryFrom<i64>>(what: &'static str, value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| corrupt(what, format!("{value} is out of range")))
}

pub(super) fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| corrupt(what, error))
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what, error))
}

pub(super) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn role(word: &str) -> Result<Role> {
    [Role::Viewer, Role::Operator, Role::Admin]
        .into_iter()
        .find(|role| role_word(*role) == word)
        .ok_or_else(|| corrupt("role", format!("`{word}` is no role")))
}

pub(super) fn state(word: &str) -> Result<ExecutionState> {
    ExecutionState::from_word(word).ok_or_else(|| corrupt("execution state", format!("`{word}` is no state")))
}

pub(super) fn outcome_bytes(outcome: Option<&Outcome>) -> Option<Vec<u8>> {
    outcome.map(|outcome| pb::Outcome::from(outcome.clone()).encode_to_vec())
}

fn outcome(bytes: Option<Vec<u8>>) -> Result<Option<Outcome>> {
    let Some(bytes) = bytes else { return Ok(None) };
    let message = pb::Outcome::decode(bytes.as_slice()).map_err(|error| corrupt("outcome", error))?;
    Outcome::try_from(message)
        .map(Some)
        .map_err(|error| corrupt("outcome", error))
}

impl TryFrom<entity::users::Model> for User {
    type Error = Error;

    fn try_from(row: entity::users::Model) -> Result<Self> {
        Ok(Self {
            id: UserId::from_uuid(row.id),
            name: row.name,
            password_hash: row.password_hash,
            role: role(&row.role)?,
            must_change_password: row.must_change_password,
        })
    }
}

impl From<entity::session::Model> for Session {
    fn from(row: entity::session::Model) -> Self {
        Self {
            secret_hash: row.secret_hash,
            user_id: UserId::from_uuid(row.user_id),
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
        }
    }
}

impl TryFrom<entity::api_token::Model> for Token {
    type Error = Error;

    fn try_from(row: entity::api_token::Model) -> Result<Self> {
        Ok(Self {
            id: TokenId::from_uuid(row.id),
            name: row.name,
            secret_hash: row.secret_hash,
            role: role(&row.role)?,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
            last_used_at: row.last_used_at.map(UnixMicros),
            revoked: row.revoked,
        })
    }
}

impl TryFrom<entity::join_token::Model> for JoinToken {
    type Error = Error;

    fn try_from(row: entity::join_token::Model) -> Result<Self> {
        let used = row.used_at.zip(row.used_by);
        Ok(Self {
            id: TokenId::from_uuid(row.id),
            secret_hash: row.secret_hash,
            labels: from_json("labels of a join token", &row.labels)?,
            agent_name: row.agent_name,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
            used: used.map(|(time, agent)| (UnixMicros(time), AgentId::from_uuid(agent))),
            revoked: row.revoked,
        })
    }
}

impl TryFrom<entity::agent::Model> for Agent {
    type Error = Error;

    fn try_from(row: entity::agent::Model) -> Result<Self> {
        Ok(Self {
            id: AgentId::from_uuid(row.id),
            name: row.name,
            labels: from_json("labels of an agent", &row.labels)?,
            facts: Bytes::from(row.facts),
            connections: from_json("connections of an agent", &row.connections)?,
            enrolled_at: UnixMicros(row.enrolled_at),
            last_seen_at: row.last_seen_at.map(UnixMicros),
            session_epoch: count("session epoch", row.session_epoch)?,
            removed: row.removed,
        })
    }
}

impl TryFrom<entity::task::Model> for Task {
    type Error = Error;

    fn try_from(row: entity::task::Model) -> Result<Self> {
        Ok(Self {
            id: TaskId::from_uuid(row.id),
            spec: Bytes::from(row.spec),
            selector: Bytes::from(row.selector),
            max_parallel: count("task", row.max_parallel)?,
            max_failures: count("task", row.max_failures)?,
            queue_ttl_secs: row.queue_ttl_secs.map(|ttl| count("task", ttl)).transpose()?,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            request_id: row.request_id,
            request_hash: row.request_hash,
            reason: row.reason,
            cancel_requested: row.cancel_requested,
        })
    }
}

impl TryFrom<entity::execution::Model> for Execution {
    type Error = Error;

    fn try_from(row: entity::execution::Model) -> Result<Self> {
        Ok(Self {
            task_id: TaskId::from_uuid(row.task_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            agent_name: row.agent_name,
            state: state(&row.state)?,
            attempt_id: row.attempt_id.map(AttemptId::from_uuid),
            attempt_number: count("execution", row.attempt_number)?,
            queue_deadline: row.queue_deadline.map(UnixMicros),
            cancel_requested: row.cancel_requested,
            started_at: row.started_at.map(UnixMicros),
            finished_at: row.finished_at.map(UnixMicros),
            outcome: outcome(row.outcome)?,
            output_verified: row.output_verified,
            revision: count("execution", row.revision)?,
        })
    }
}

impl TryFrom<entity::attempt::Model> for Attempt {
    type Error = Error;

    fn try_from(row: entity::attempt::Model) -> Result<Self> {
        Ok(Self {
            id: AttemptId::from_uuid(row.id),
            task_id: TaskId::from_uuid(row.task_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            number: count("attempt", row.number)?,
            state: state(&row.state)?,
            created_at: UnixMicros(row.created_at),
            finished_at: row.finished_at.map(UnixMicros),
            outcome: outcome(row.outcome)?,
        })
    }
}

impl TryFrom<entity::chunk::Model> for Chunk {
    type Error = Error;

    fn try_from(row: entity::chunk::Model) -> Result<Self> {
        Ok(Self {
            attempt_id: AttemptId::from_uuid(row.attempt_id),
            first_seq: count("chunk", row.first_seq)?,
            event_count: count("chunk", row.event_count)?,
            first_line: count("chunk", row.first_line)?,
            line_count: count("chunk", row.line_count)?,
            raw_size: count("chunk", row.raw_size)?,
            first_time: UnixMicros(row.first_time),
            last_time: UnixMicros(row.last_time),
            codec: count("chunk", row.codec)?,
            payload: Bytes::from(row.payload),
            outcome: outcome(row.outcome)?,
        })
    }
}

impl TryFrom<entity::audit::Model> for AuditRow {
    type Error = Error;

    fn try_from(row: entity::audit::Model) -> Result<Self> {
        Ok(Self {
            id: row.id,
            time: UnixMicros(row.time),
            actor: row.actor,
            actor_role: row.actor_role.as_deref().map(role).transpose()?,
            action: row.action,
            resource: row.resource,
            detail: row.detail,
            peer: row.peer,
        })
    }
}

/// Reads every row, or fails at the first unreadable one.
pub(super) fn records<M, R: TryFrom<M, Error = Error>>(rows: Vec<M>) -> Result<Vec<R>> {
    rows.into_iter().map(R::try_from).collect()
}
