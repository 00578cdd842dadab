//! Persistence: one [`Store`], three engines with the same conformance suite.
//!
//! [`sql`] keeps everything in SQLite or PostgreSQL through sea-orm; [`memory`] keeps it in maps, for the simulation.
//! Callers see domain records only. A state change and what it implies are one transaction; every mutation takes the
//! audit row that is written with it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use opslink::{
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    task::ExecutionState,
    time::UnixMicros,
};

pub mod memory;
pub mod record;
pub mod sql;

#[cfg(test)]
mod conformance;

use record::*;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away, busy beyond its time, or full. Nothing was changed; a retry may help.
    #[error("database is unavailable: {message}")]
    Unavailable {
        /// What the database said.
        message: String,
        /// UPPER_SNAKE reason: `DATABASE_UNAVAILABLE` or `DISK_FULL`.
        reason: &'static str,
    },
    /// A stored value that this version cannot read. A retry does not help.
    #[error("stored {what} is not readable: {message}")]
    Corrupt {
        /// Which record.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// A unique name is taken.
    #[error("{what} `{name}` already exists")]
    Exists {
        /// Which kind.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The record is not there.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// Which kind.
        what: &'static str,
        /// The id or name.
        name: String,
    },
}

/// When an attempt was made: its id says so (version 7 carries milliseconds); else the first time known of it.
fn attempt_created_at(id: AttemptId, execution: &Execution) -> UnixMicros {
    let from_id = id.uuid().get_timestamp().map(|timestamp| {
        let (seconds, nanos) = timestamp.to_unix();
        UnixMicros(i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000) + i64::from(nanos / 1_000))
    });
    from_id
        .or(execution.started_at)
        .or(execution.finished_at)
        .unwrap_or_default()
}

/// Result of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that outlives the process. Every method is one transaction; when it returns `Ok`, the change is durable.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Cheap round trip to the database, for health.
    async fn ping(&self) -> Result<()>;

    // Settings: CA, keys, instance id.
    /// Reads a setting.
    async fn setting_get(&self, key: &str) -> Result<Option<Vec<u8>>>;
    /// Writes a setting unless it exists; returns the value that is now there.
    async fn setting_init(&self, key: &str, value: &[u8]) -> Result<Vec<u8>>;

    // People, sessions, API tokens.
    /// Adds a user. [`Error::Exists`] when the name is taken.
    async fn user_insert(&self, user: User, audit: Audit) -> Result<()>;
    /// Finds a user by name.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>>;
    /// Finds a user by id.
    async fn user_get(&self, id: UserId) -> Result<Option<User>>;
    /// Number of users.
    async fn user_count(&self) -> Result<u64>;
    /// Sets the password, clears `must_change_password`, ends every session but `keep`.
    async fn user_set_password(&self, id: UserId, password_hash: &str, keep: Option<&[u8]>, audit: Audit)
    -> Result<()>;
    /// Adds a session.
    async fn session_insert(&self, session: Session, audit: Audit) -> Result<()>;
    /// Finds a session by the hash of its secret, with its user; expired ones too.
    async fn session_get(&self, secret_hash: &[u8]) -> Result<Option<(Session, User)>>;
    /// Ends a session.
    async fn session_remove(&self, secret_hash: &[u8], audit: Audit) -> Result<()>;
    /// Adds an API token. [`Error::Exists`] when a living token has the name.
    async fn token_insert(&self, token: Token, audit: Audit) -> Result<()>;
    /// Finds a token by the hash of its secret; expired and revoked ones too.
    async fn token_by_hash(&self, secret_hash: &[u8]) -> Result<Option<Token>>;
    /// All tokens, newest first.
    async fn token_list(&self) -> Result<Vec<Token>>;
    /// Revokes a token. [`Error::NotFound`] when there is none.
    async fn token_revoke(&self, id: TokenId, audit: Audit) -> Result<()>;
    /// Notes the use of a token (no audit row).
    async fn token_touch(&self, id: TokenId, time: UnixMicros) -> Result<()>;

    // Joining.
    /// Adds a join token.
    async fn join_token_insert(&self, token: JoinToken, audit: Audit) -> Result<()>;
    /// All join tokens, newest first.
    async fn join_token_list(&self) -> Result<Vec<JoinToken>>;
    /// Revokes a join token. [`Error::NotFound`] when there is none.
    async fn join_token_revoke(&self, id: TokenId, audit: Audit) -> Result<()>;
    /// Consumes the token by one atomic update and stores the agent; of 100 racing calls one wins.
    async fn agent_join(&self, token: TokenId, secret_hash: &[u8], agent: NewAgent, audit: Audit)
    -> Result<JoinResult>;

    // Agents.
    /// Finds an agent by id; removed ones too.
    async fn agent_get(&self, id: AgentId) -> Result<Option<Agent>>;
    /// All living agents in name order.
    async fn agent_list(&self) -> Result<Vec<Agent>>;
    /// Replaces the labels. [`Error::NotFound`] when there is no such living agent.
    async fn agent_set_labels(&self, id: AgentId, labels: BTreeMap<String, String>, audit: Audit) -> Result<Agent>;
    /// Marks as removed. [`Error::NotFound`] when there is no such living agent.
    async fn agent_remove(&self, id: AgentId, audit: Audit) -> Result<()>;
    /// A link came up: stores facts and connections, raises the session epoch and returns it.
    async fn agent_attach(
        &self,
        id: AgentId,
        facts: bytes::Bytes,
        connections: Vec<(String, String, bool)>,
        time: UnixMicros,
    ) -> Result<u64>;
    /// Stores signs of life, many at once.
    async fn agent_seen(&self, seen: Vec<AgentSeen>) -> Result<()>;

    // Tasks and executions.
    /// Stores a task with its executions (and an attempt for each that has one).
    async fn task_create(&self, task: Task, executions: Vec<Execution>, audit: Audit) -> Result<TaskCreated>;
    /// Finds a task.
    async fn task_get(&self, id: TaskId) -> Result<Option<Task>>;
    /// Ids of tasks that begin with this text, two at most: enough to see that a prefix is ambiguous.
    async fn task_by_prefix(&self, prefix: &str) -> Result<Vec<TaskId>>;
    /// Lists tasks, newest first.
    async fn task_list(&self, filter: TaskFilter) -> Result<Vec<Task>>;
    /// Executions per state, for each of these tasks.
    async fn task_counts(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, BTreeMap<ExecutionState, u32>>>;
    /// Marks the task and these executions (all when empty) as asked to end, with the audit row.
    async fn task_request_cancel(&self, id: TaskId, agents: &[AgentId], audit: Audit) -> Result<()>;
    /// Executions of a task in agent name order, after this agent name, at most `limit`.
    async fn execution_list(&self, task: TaskId, after: Option<&str>, limit: u32) -> Result<Vec<Execution>>;
    /// Finds an execution.
    async fn execution_get(&self, task: TaskId, agent: AgentId) -> Result<Option<Execution>>;
    /// Finds the execution that this attempt belongs to (as its newest or an older one).
    async fn execution_by_attempt(&self, attempt: AttemptId) -> Result<Option<Execution>>;
    /// Executions of a task whose revision is above `after`, in revision order, at most `limit`.
    async fn execution_changes(&self, task: TaskId, after: u64, limit: u32) -> Result<Vec<Execution>>;
    /// Executions of an agent that are not at their end, oldest task first.
    async fn execution_open(&self, agent: AgentId) -> Result<Vec<Execution>>;
    /// Executions of a task that are not at their end.
    async fn execution_open_of_task(&self, task: TaskId) -> Result<Vec<Execution>>;
    /// Queued or held executions whose queue deadline has passed, at most `limit`.
    async fn execution_expired(&self, now: UnixMicros, limit: u32) -> Result<Vec<Execution>>;
    /// Makes these changes, each only if its `before` still holds; returns what is now there, in the same order,
    /// and whether it is this write's doing. Writes an attempt row when the attempt is new, else updates it, and the
    /// output that comes with a change (which must be the first of its attempt).
    async fn execution_apply(
        &self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>>;
    /// Attempts of a task, oldest first.
    async fn attempt_list(&self, task: TaskId) -> Result<Vec<Attempt>>;
    /// Finds an attempt.
    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>>;

    // Output.
    /// Stores chunks that continue their attempt exactly; others are answered with what is wanted.
    async fn chunk_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>>;
    /// First event that the store does not have, per attempt (0 for unknown ones).
    async fn chunk_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>>;
    /// Chunks with payload, in order, until `max_bytes` of payload are passed (always at least one if there is one).
    async fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Result<Vec<Chunk>>;
    /// Chunks without payload, from this event, at most `limit`.
    async fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>>;

    // Audit.
    /// Audit rows, newest first, below this id.
    async fn audit_list(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>>;
    /// Writes an audit row that goes with no other change (a refused login, say).
    async fn audit_insert(&self, audit: Audit) -> Result<()>;
}
