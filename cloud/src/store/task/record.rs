//! Tasks.

use bytes::Bytes;
use opslink::{
    id::{AgentId, TaskId},
    time::UnixMicros,
};

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

/// The first of these tasks whose bodies together have at most so many bytes, but always the first one that is there.
pub(super) fn fitting(ids: &[TaskId], size: impl Fn(&TaskId) -> Option<usize>, max_bytes: usize) -> Vec<TaskId> {
    let mut total = 0;
    let known = ids.iter().filter_map(|id| Some((*id, size(id)?)));
    let fits = |(_, size): &(TaskId, usize)| {
        let first = total == 0;
        total += (*size).max(1);
        first || total <= max_bytes
    };
    known.take_while(fits).map(|(id, _)| id).collect()
}
