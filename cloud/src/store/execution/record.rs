//! One task on one agent, and its attempts.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

use crate::store::record::Chunk;

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
    /// Set by the store; grows with every change of an execution of the same task.
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

/// What lists show of an attempt: all but how it ended, which may have 4 KiB of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptHead {
    /// Id.
    pub id: AttemptId,
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
}

/// The executions of a task, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// How many are in each state.
    pub states: BTreeMap<ExecutionState, u32>,
    /// When the last of those that are at their end came to it.
    pub last_end: Option<UnixMicros>,
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

impl Execution {
    /// When an attempt was made: its id says so (version 7 carries milliseconds); else the first time known of it.
    pub(super) fn attempt_created_at(&self, id: AttemptId) -> UnixMicros {
        let from_id = id.uuid().get_timestamp().map(|timestamp| {
            let (seconds, nanos) = timestamp.to_unix();
            UnixMicros(i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000) + i64::from(nanos / 1_000))
        });
        from_id.or(self.started_at).or(self.finished_at).unwrap_or_default()
    }
}
