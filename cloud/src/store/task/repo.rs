//! What can be asked and changed.

use std::collections::BTreeMap;

use opslink::id::{AgentId, TaskId};

use super::sql;
use crate::store::{
    Result, Store,
    record::{Audit, Execution, Task, TaskCreated, TaskFilter},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// Finds a task.
    fn task_get(id: TaskId) -> Option<Task>;
    /// Bodies of these tasks, in this order until `max_bytes` are passed: the first one that is there in any case.
    /// Whoever is not among them is asked for again, does not exist, or cannot be read.
    fn task_bodies(ids: &[TaskId], max_bytes: usize) -> BTreeMap<TaskId, Task>;
    /// Ids of tasks that begin with this text, two at most: enough to see that a prefix is ambiguous.
    fn task_by_prefix(prefix: &str) -> Vec<TaskId>;
    /// The last revision that was given to an execution of this task; 0 when there is none.
    fn task_revision(id: TaskId) -> u64;
    /// Finds what this caller created with this request id, and the hash of that request.
    fn task_by_request(created_by: &str, request_id: &str) -> Option<(TaskId, Vec<u8>)>;
    /// Ids of tasks, newest first.
    fn task_ids(filter: TaskFilter) -> Vec<TaskId>;
    /// The same with all that they hold, however much that is. For tests and the simulation; callers are shown
    /// [`Self::task_ids`], and [`Self::task_bodies`] of them.
    fn task_list(filter: TaskFilter) -> Vec<Task>;
}

writes! {
    /// Stores a task with its executions (and an attempt for each that has one).
    fn task_create(task: Task, executions: Vec<Execution>, audit: Audit) -> TaskCreated;
}

tx_writes! {
    /// Marks the task and these executions (all when empty) as asked to end, with the audit row.
    fn task_request_cancel(id: TaskId, agents: Vec<AgentId>, audit: Audit) -> ();
}

impl Store {
    /// Marks the task and these executions (all when empty) as asked to end, with the audit row.
    ///
    /// # Errors
    /// There is no such task, or the database is away.
    pub async fn task_request_cancel(&self, id: TaskId, agents: &[AgentId], audit: Audit) -> Result<()> {
        self.write((id, agents.to_vec(), audit), |tx, (id, agents, audit)| {
            Box::pin(tx.task_request_cancel(id, agents, audit))
        })
        .await
    }
}
