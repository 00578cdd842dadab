//! What the engine tells callers, as records; `service/task/encode.rs` makes the wire forms.

use opslink::{event::Event, id::AttemptId, pb, time::UnixMicros};

use super::view::Counts;
use crate::store::record::{AttemptHead, Execution, Task, TaskCounts};

/// A task as it is now.
#[derive(Debug)]
pub(crate) struct TaskView {
    /// As stored.
    pub(crate) task: Task,
    /// Its executions per state.
    pub(crate) counts: Counts,
    /// When the last of its executions ended, as far as that was looked up.
    pub(crate) finished_at: Option<UnixMicros>,
}

impl TaskView {
    /// A task with what the store counts of it.
    pub(super) fn of(task: Task, counts: TaskCounts) -> Self {
        Self {
            task,
            counts: counts.states,
            finished_at: counts.last_end,
        }
    }
}

/// An execution as it is now.
#[derive(Debug)]
pub(crate) struct ExecutionView {
    /// As stored.
    pub(crate) execution: Execution,
    /// Its attempts, oldest first, as far as they were looked up: the newest may be missing, or be older than the
    /// execution says.
    pub(crate) attempts: Vec<AttemptHead>,
}

impl From<Execution> for ExecutionView {
    /// Without attempts beside the newest.
    fn from(execution: Execution) -> Self {
        Self {
            execution,
            attempts: Vec::new(),
        }
    }
}

/// A task, and those of its executions that a request has made or begun again.
#[derive(Debug)]
pub(crate) struct Created {
    /// The task.
    pub(crate) task: TaskView,
    /// In agent name order.
    pub(crate) executions: Vec<ExecutionView>,
    /// Nothing was stored: the task's id names nothing.
    pub(crate) is_preview: bool,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page<T, K> {
    /// In the order of the list.
    pub(crate) items: Vec<T>,
    /// Where the next page goes on; absent on the last one.
    pub(crate) next: Option<K>,
}

/// One thing that a watch sends.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The task.
    Task(TaskView),
    /// One of its executions.
    Execution(ExecutionView),
    /// Output as it is stored.
    Chunk(pb::LogChunk),
    /// Output, decoded.
    Events {
        /// Whose.
        attempt: AttemptId,
        /// On which agent.
        agent_name: String,
        /// Number of the first event.
        first_seq: u64,
        /// The events.
        events: Vec<Event>,
    },
    /// Nothing happened until then.
    Heartbeat(UnixMicros),
}

/// One chunk of stored output.
#[derive(Debug)]
pub(crate) struct Piece {
    /// As stored; without payload when decoded events were asked for.
    pub(crate) chunk: pb::LogChunk,
    /// Its events, when they were asked for.
    pub(crate) events: Vec<Event>,
}
