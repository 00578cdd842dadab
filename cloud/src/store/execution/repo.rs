//! What can be asked and changed.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    time::UnixMicros,
};

use super::sql;
use crate::store::{
    Result, Store,
    record::{Attempt, AttemptHead, Audit, Execution, ExecutionWrite, TaskCounts},
    tx::{reads, tx_writes},
};

reads! {
    /// Executions of a task in agent name order, after this agent name, at most `limit`.
    fn execution_list(task: TaskId, after: Option<&str>, limit: u32) -> Vec<Execution>;
    /// Finds the execution that this attempt belongs to (as its newest or an older one).
    fn execution_by_attempt(attempt: AttemptId) -> Option<Execution>;
    /// The same for many attempts; unknown ones are left out.
    fn execution_by_attempts(attempts: &[AttemptId]) -> BTreeMap<AttemptId, Execution>;
    /// Executions of a task whose revision is above `after`, in revision order, at most `limit`.
    fn execution_changes(task: TaskId, after: u64, limit: u32) -> Vec<Execution>;
    /// Queued executions of an agent, oldest task first, at most `limit`.
    fn execution_waiting(agent: AgentId, limit: u32) -> Vec<Execution>;
    /// Dispatched and running executions of an agent, oldest task first: as many as it has slots.
    fn execution_handed_over(agent: AgentId) -> Vec<Execution>;
    /// Executions of an agent that are not at their end, oldest task first, after this task, at most `limit`.
    fn execution_open_page(agent: AgentId, after: Option<TaskId>, limit: u32) -> Vec<Execution>;
    /// Executions of a task that are not at their end.
    fn execution_open_of_task(task: TaskId) -> Vec<Execution>;
    /// Held executions of a task, in agent order, at most `limit`.
    fn execution_held(task: TaskId, limit: u32) -> Vec<Execution>;
    /// Queued or held executions whose queue deadline has passed, at most `limit`. In the order of deadlines, tasks and
    /// agents, after the one of this deadline, task and agent.
    fn execution_expired(
        now: UnixMicros,
        after: Option<(UnixMicros, TaskId, AgentId)>,
        limit: u32,
    ) -> Vec<Execution>;
    /// What will not end by itself, at most `limit`: dispatched executions whose deadline has passed. In the order of
    /// agents and tasks, after the one of this agent and task.
    fn execution_stale(now: UnixMicros, after: Option<(AgentId, TaskId)>, limit: u32) -> Vec<Execution>;
    /// Dispatched and running executions of agents that were last heard of before this time (or never), at most `limit`.
    /// In the order of agents and tasks, after the one of this agent and task.
    fn execution_silent(seen_before: UnixMicros, after: Option<(AgentId, TaskId)>, limit: u32) -> Vec<Execution>;
    /// Executions per state, and the last end, for each of these tasks: what a rollout decides upon, and what a list
    /// shows.
    fn execution_counts(tasks: &[TaskId]) -> BTreeMap<TaskId, TaskCounts>;
    /// Attempts of a task on these agents, without how they ended; those of one agent stand together, oldest first.
    fn attempt_heads(task: TaskId, agents: &[AgentId]) -> Vec<AttemptHead>;
    /// All attempts of a task with how they ended, oldest first: as many as there are. For whoever holds a task against
    /// what was promised; callers are shown [`Self::attempt_heads`].
    fn attempt_list(task: TaskId) -> Vec<Attempt>;
    /// Finds an attempt.
    fn attempt_get(id: AttemptId) -> Option<Attempt>;
}

tx_writes! {
    /// Makes these changes, each only if its `before` still holds; returns what is now there, in the same order,
    /// and whether it is this write's doing. Writes an attempt row when the attempt is new, else updates it, and the
    /// output that comes with a change (which must be the first of its attempt). The audit row is written if any
    /// change was made. [`crate::store::Error::NotFound`] when an execution is not there.
    fn execution_apply(writes: Vec<ExecutionWrite>, audit: Option<Audit>) -> Vec<(bool, Execution)>;
}

impl Store {
    /// The same as [`crate::store::Tx::execution_apply`], in a transaction of its own.
    ///
    /// # Errors
    /// An execution is not there, or the database is away; then no change was made.
    pub async fn execution_apply(
        &self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.write((writes, audit), |tx, (writes, audit)| {
            Box::pin(tx.execution_apply(writes, audit))
        })
        .await
    }
}
