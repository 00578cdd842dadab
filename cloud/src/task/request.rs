//! What callers ask of the engine, decoded. What is wrong with a request by itself was found before
//! (`service/task/decode.rs`); what is wrong with it today (who is there, what has ended) is found here.

use std::collections::HashMap;

use bytes::Bytes;
use opslink::{
    id::{AttemptId, TaskId},
    problem::Problem,
    selector::Selector,
    task::{TaskSpec, TaskState},
};

use crate::store::record::ChunkStart;

/// A request to create a task. What is wrong with it is told unless the same request created a task before: then the
/// first answer stands.
#[derive(Debug)]
pub(crate) struct CreateTask {
    /// Of the caller: the same id with the same hash is the same request. Without one each request is a new one.
    pub(crate) request_id: Option<String>,
    /// SHA-256 of all the rest.
    pub(crate) request_hash: Vec<u8>,
    /// What to create, or what is wrong with it.
    pub(crate) task: Result<NewTask, Problem>,
}

/// A task to create.
#[derive(Debug)]
pub(crate) struct NewTask {
    /// What to do.
    pub(crate) spec: TaskSpec,
    /// The same as it is kept: `pb::TaskSpec`, encoded.
    pub(crate) spec_bytes: Bytes,
    /// Which agents.
    pub(crate) selector: Selector,
    /// The same as it is kept: `pb::Selector`, encoded.
    pub(crate) selector_bytes: Bytes,
    /// The same for people.
    pub(crate) selector_text: String,
    /// Ids or names that the caller was shown for the selector, if it says which.
    pub(crate) expected: Option<Vec<String>>,
    /// Executions at work at the same time; 0 means all.
    pub(crate) max_parallel: u32,
    /// Stop starting after so many failures; 0 means never.
    pub(crate) max_failures: u32,
    /// Wait for offline agents instead of refusing the task.
    pub(crate) queueing: bool,
    /// Longest wait for an offline agent, when it is waited for.
    pub(crate) queue_ttl_secs: u32,
    /// Free text.
    pub(crate) reason: String,
    /// Check and resolve only.
    pub(crate) dry_run: bool,
}

/// A request for new attempts.
#[derive(Debug)]
pub(crate) struct RetryTask {
    /// Id of the task, or a prefix of it.
    pub(crate) task: String,
    /// Only on these agents (ids or names); empty means all.
    pub(crate) agents: Vec<String>,
    /// Also what is lost: it may have run.
    pub(crate) include_lost: bool,
    /// Also what succeeded: it runs a second time.
    pub(crate) include_succeeded: bool,
    /// The same id makes the same attempts.
    pub(crate) request_id: Option<String>,
}

/// A wish for the end of a task.
#[derive(Debug)]
pub(crate) struct CancelTask {
    /// Id of the task, or a prefix of it.
    pub(crate) task: String,
    /// Only on these agents (ids or names); empty means all.
    pub(crate) agents: Vec<String>,
    /// Free text.
    pub(crate) reason: String,
}

/// Which tasks to list.
#[derive(Debug)]
pub(crate) struct ListTasks {
    /// Only with an execution on this agent (id or name).
    pub(crate) agent: Option<String>,
    /// Only in one of these states; empty means all.
    pub(crate) states: Vec<TaskState>,
    /// Only older than this task.
    pub(crate) before: Option<TaskId>,
    /// At most so many, not 0.
    pub(crate) page_size: u32,
}

/// Which executions to list.
#[derive(Debug)]
pub(crate) struct ListExecutions {
    /// Id of the task, or a prefix of it.
    pub(crate) task: String,
    /// Only after this agent name.
    pub(crate) after: Option<String>,
    /// At most so many, not 0.
    pub(crate) page_size: u32,
}

/// What to watch.
#[derive(Debug)]
pub(crate) struct WatchTask {
    /// Id of the task, or a prefix of it.
    pub(crate) task: String,
    /// How output comes back.
    pub(crate) output: Output,
    /// Per attempt, the next event that the caller has not seen.
    pub(crate) positions: HashMap<AttemptId, u64>,
    /// Only executions on these agents (ids or names); empty means all.
    pub(crate) agents: Vec<String>,
    /// Wait for the task's end instead of ending with what is stored.
    pub(crate) follow: bool,
    /// Older attempts too.
    pub(crate) all_attempts: bool,
}

/// How output comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Not at all.
    Nothing,
    /// As stored.
    Chunks,
    /// Decoded.
    Events,
}

/// Which chunks of an attempt to list.
#[derive(Debug)]
pub(crate) struct ListChunks {
    /// Id of the attempt, as it was given.
    pub(crate) attempt: String,
    /// From the chunk that holds this event.
    pub(crate) from: u64,
    /// At most so many, not 0.
    pub(crate) page_size: u32,
}

/// Which stored output to read.
#[derive(Debug)]
pub(crate) struct ReadLog {
    /// Id of the attempt, as it was given.
    pub(crate) attempt: String,
    /// Where to begin.
    pub(crate) start: LogStart,
    /// At most so many chunks.
    pub(crate) max_chunks: u64,
    /// Decoded events instead of chunks.
    pub(crate) decode: bool,
}

/// Where stored output is read from.
#[derive(Debug)]
pub(crate) enum LogStart {
    /// The chunk at this place.
    At(ChunkStart),
    /// The chunks that hold so many last lines.
    Tail(u64),
}
