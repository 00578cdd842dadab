//! What the store keeps, as domain types. Entities and SQL stay inside the engines.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

/// What a role may do grows from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Runs, cancels and retries tasks.
    Operator,
    /// Agents, join tokens, API tokens.
    Admin,
}

/// Who did what to what; written in the same transaction as its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub time: UnixMicros,
    /// User name, `token:<name>`, `agent:<id>` or `system`.
    pub actor: String,
    /// Role at that time; absent for agents and the system.
    pub actor_role: Option<Role>,
    /// `task.create`, `agent.join`, …
    pub action: &'static str,
    /// Kind and id: `task/0192…`.
    pub resource: String,
    /// One line; never a secret.
    pub detail: String,
    /// Address of the caller; empty for the system.
    pub peer: String,
}

/// A stored audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows by one per row.
    pub id: i64,
    /// What was written; `action` as text.
    pub time: UnixMicros,
    /// See [`Audit::actor`].
    pub actor: String,
    /// See [`Audit::actor_role`].
    pub actor_role: Option<Role>,
    /// See [`Audit::action`].
    pub action: String,
    /// See [`Audit::resource`].
    pub resource: String,
    /// See [`Audit::detail`].
    pub detail: String,
    /// See [`Audit::peer`].
    pub peer: String,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Login name, unique.
    pub name: String,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// Role.
    pub role: Role,
    /// Only a password change is allowed.
    pub must_change_password: bool,
}

/// A logged-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the session's secret.
    pub secret_hash: Vec<u8>,
    /// Whose.
    pub user_id: UserId,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Public id.
    pub id: TokenId,
    /// Name, unique among the living.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Role.
    pub role: Role,
    /// Actor who made it.
    pub created_by: String,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
    /// Last use, to the minute.
    pub last_used_at: Option<UnixMicros>,
    /// Unusable.
    pub revoked: bool,
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Public id.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Labels that the agent gets.
    pub labels: BTreeMap<String, String>,
    /// Name that the agent gets; empty lets it propose one.
    pub agent_name: String,
    /// Actor who made it.
    pub created_by: String,
    /// When made.
    pub created_at: UnixMicros,
    /// When it ends.
    pub expires_at: UnixMicros,
    /// When used, and by which agent.
    pub used: Option<(UnixMicros, AgentId)>,
    /// Unusable.
    pub revoked: bool,
}

/// An enrolled machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Id, never reused.
    pub id: AgentId,
    /// Unique among the living.
    pub name: String,
    /// Kept by the server.
    pub labels: BTreeMap<String, String>,
    /// What it last said about itself; `pb::Facts`, encoded.
    pub facts: Bytes,
    /// Its connections; `Vec<(name, kind, is_default)>`.
    pub connections: Vec<(String, String, bool)>,
    /// When it joined.
    pub enrolled_at: UnixMicros,
    /// Last frame of its last link.
    pub last_seen_at: Option<UnixMicros>,
    /// Grows with each link.
    pub session_epoch: u64,
    /// Removed: its certificates are refused.
    pub removed: bool,
}

/// How the joining of an agent ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinResult {
    /// The token was consumed and the agent is stored.
    Joined(Agent),
    /// No such token, or another secret.
    TokenUnknown,
    /// Too late.
    TokenExpired,
    /// Somebody was faster.
    TokenUsed,
    /// Revoked.
    TokenRevoked,
    /// The name belongs to a living agent; the token is not consumed.
    NameTaken(String),
}

/// A new agent, but for its name and labels, which the token may decide.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAgent {
    /// Id.
    pub id: AgentId,
    /// Name when the token has none.
    pub proposed_name: String,
    /// Now.
    pub enrolled_at: UnixMicros,
}

/// A live sign of an agent; many are written at once.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSeen {
    /// Which.
    pub id: AgentId,
    /// When.
    pub time: UnixMicros,
}

/// A task without its executions.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Id.
    pub id: TaskId,
    /// `pb::TaskSpec`, encoded.
    pub spec: Bytes,
    /// `pb::Selector`, encoded.
    pub selector: Bytes,
    /// Executions at work at the same time; 0 means all.
    pub max_parallel: u32,
    /// Stop starting after so many failures; 0 means never.
    pub max_failures: u32,
    /// Longest wait for an offline agent; absent: offline agents were refused.
    pub queue_ttl_secs: Option<u32>,
    /// Actor.
    pub created_by: String,
    /// When.
    pub created_at: UnixMicros,
    /// Of the caller; unique per actor.
    pub request_id: Option<String>,
    /// SHA-256 of the request's body.
    pub request_hash: Vec<u8>,
    /// Free text.
    pub reason: String,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
}

/// One task on one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Which task.
    pub task_id: TaskId,
    /// Which agent.
    pub agent_id: AgentId,
    /// Its name when the task was created.
    pub agent_name: String,
    /// State of the newest attempt.
    pub state: ExecutionState,
    /// Newest attempt; absent before the first dispatch.
    pub attempt_id: Option<AttemptId>,
    /// 1 for the first; 0 before the first dispatch.
    pub attempt_number: u32,
    /// When the task may no longer start here.
    pub queue_deadline: Option<UnixMicros>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// When the agent said that it runs.
    pub started_at: Option<UnixMicros>,
    /// When it came to its end.
    pub finished_at: Option<UnixMicros>,
    /// How the newest attempt ended.
    pub outcome: Option<Outcome>,
    /// Stored output equals the produced one.
    pub output_verified: bool,
    /// Set by the store; grows with every change of any execution.
    pub revision: u64,
}

/// A former or current attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Id.
    pub id: AttemptId,
    /// Which task.
    pub task_id: TaskId,
    /// Which agent.
    pub agent_id: AgentId,
    /// 1 for the first.
    pub number: u32,
    /// State that it has or ended in.
    pub state: ExecutionState,
    /// When made.
    pub created_at: UnixMicros,
    /// When ended.
    pub finished_at: Option<UnixMicros>,
    /// How.
    pub outcome: Option<Outcome>,
}

/// How the creation of a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskCreated {
    /// Stored.
    New,
    /// The same request was made before; its task.
    Replayed(TaskId),
    /// The same request id with another body.
    RequestIdConflict,
}

/// One change of an execution, made only when it still is as `before` says.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionWrite {
    /// State and newest attempt that the decision was based on.
    pub before: (ExecutionState, Option<AttemptId>),
    /// What it shall be; `revision` is ignored and set by the store.
    pub after: Execution,
    /// All output of the attempt, when it is one small chunk: stored with the change, or not at all.
    pub output: Option<Chunk>,
}

/// A stored chunk, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Whose.
    pub attempt_id: AttemptId,
    /// First event.
    pub first_seq: u64,
    /// Events in it.
    pub event_count: u32,
    /// First line.
    pub first_line: u64,
    /// Line ends in it.
    pub line_count: u64,
    /// Size before compression.
    pub raw_size: u64,
    /// Time of its first event.
    pub first_time: UnixMicros,
    /// Time of its last event.
    pub last_time: UnixMicros,
    /// `pb::Codec` as its number.
    pub codec: i32,
    /// Compressed `pb::EventBatch`; empty in an index listing.
    pub payload: Bytes,
    /// Set on the last chunk of an attempt; `pb::Outcome`.
    pub outcome: Option<Outcome>,
}

impl Chunk {
    /// Returns the first event after this chunk.
    pub const fn next_seq(&self) -> u64 {
        self.first_seq + self.event_count as u64
    }

    /// Says whether this is all output of its attempt.
    pub const fn is_whole(&self) -> bool {
        self.first_seq == 0 && self.outcome.is_some()
    }
}

/// How the storing of a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// First event that the store does not have, after this.
    pub next_seq: u64,
    /// False when the chunk was a repetition or left a gap; nothing was stored.
    pub stored: bool,
}

/// Which chunks of an attempt to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStart {
    /// From the chunk that holds this event.
    Seq(u64),
    /// From the chunk that holds this line.
    Line(u64),
}

/// Which tasks to list, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskFilter {
    /// Only with an execution on this agent.
    pub agent_id: Option<AgentId>,
    /// Only older than this task.
    pub before: Option<TaskId>,
    /// At most so many.
    pub limit: u32,
}
