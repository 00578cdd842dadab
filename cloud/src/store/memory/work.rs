//! Tasks, executions and attempts in memory.

use std::collections::{BTreeMap, BTreeSet};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    super::{Error, Result, attempt_created_at, record::*},
    State,
};

impl State {
    pub(super) fn executions_of(&self, task: TaskId) -> impl Iterator<Item = &Execution> {
        let first = (task, AgentId::from_uuid(uuid::Uuid::nil()));
        self.executions
            .range(first..)
            .take_while(move |((owner, _), _)| *owner == task)
            .map(|(_, execution)| execution)
    }

    pub(super) fn task_create(&mut self, task: Task, executions: Vec<Execution>, audit: Audit) -> Result<TaskCreated> {
        let same_request = |other: &&Task| {
            task.request_id.is_some() && other.request_id == task.request_id && other.created_by == task.created_by
        };
        if let Some(earlier) = self.tasks.values().find(same_request) {
            let same_body = earlier.request_hash == task.request_hash;
            return Ok(if same_body {
                TaskCreated::Replayed(earlier.id)
            } else {
                TaskCreated::RequestIdConflict
            });
        }
        if self.tasks.contains_key(&task.id) {
            return Err(Error::Exists {
                what: "task",
                name: task.id.to_string(),
            });
        }
        for mut execution in executions {
            execution.revision = self.next_revision();
            if let Some(id) = execution.attempt_id {
                self.write_attempt(id, &execution, task.created_at);
            }
            self.executions
                .insert((execution.task_id, execution.agent_id), execution);
        }
        self.tasks.insert(task.id, task);
        self.write_audit(audit);
        Ok(TaskCreated::New)
    }

    pub(super) fn task_list(&self, filter: &TaskFilter) -> Vec<Task> {
        let matches = |task: &&Task| {
            filter.before.is_none_or(|before| task.id < before)
                && filter
                    .agent_id
                    .is_none_or(|agent| self.executions.contains_key(&(task.id, agent)))
        };
        self.tasks
            .values()
            .rev()
            .filter(matches)
            .take(filter.limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn task_counts(&self, ids: &[TaskId]) -> BTreeMap<TaskId, BTreeMap<ExecutionState, u32>> {
        let mut counts = BTreeMap::new();
        for id in ids.iter().copied().collect::<BTreeSet<_>>() {
            let of_task: &mut BTreeMap<_, u32> = counts.entry(id).or_default();
            for execution in self.executions_of(id) {
                *of_task.entry(execution.state).or_default() += 1;
            }
        }
        counts
    }

    pub(super) fn task_request_cancel(&mut self, id: TaskId, agents: &[AgentId], audit: Audit) -> Result<()> {
        let task = self.tasks.get_mut(&id).ok_or_else(|| Error::NotFound {
            what: "task",
            name: id.to_string(),
        })?;
        task.cancel_requested = true;
        let asked = |execution: &&Execution| {
            (agents.is_empty() || agents.contains(&execution.agent_id))
                && !execution.state.is_terminal()
                && !execution.cancel_requested
        };
        let keys: Vec<_> = self
            .executions_of(id)
            .filter(asked)
            .map(|e| (e.task_id, e.agent_id))
            .collect();
        for key in keys {
            let revision = self.next_revision();
            if let Some(execution) = self.executions.get_mut(&key) {
                execution.cancel_requested = true;
                execution.revision = revision;
            }
        }
        self.write_audit(audit);
        Ok(())
    }

    pub(super) fn execution_list(&self, task: TaskId, after: Option<&str>, limit: u32) -> Vec<Execution> {
        let mut list: Vec<_> = self
            .executions_of(task)
            .filter(|execution| after.is_none_or(|after| execution.agent_name.as_str() > after))
            .collect();
        list.sort_by(|a, b| (&a.agent_name, a.agent_id).cmp(&(&b.agent_name, b.agent_id)));
        list.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn execution_changes(&self, task: TaskId, after: u64, limit: u32) -> Vec<Execution> {
        let mut list: Vec<_> = self
            .executions_of(task)
            .filter(|execution| execution.revision > after)
            .collect();
        list.sort_by_key(|execution| execution.revision);
        list.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn execution_expired(&self, now: UnixMicros, limit: u32) -> Vec<Execution> {
        let waiting = |state| matches!(state, ExecutionState::Held | ExecutionState::Queued);
        let passed = |execution: &&Execution| {
            waiting(execution.state) && execution.queue_deadline.is_some_and(|deadline| deadline <= now)
        };
        let mut list: Vec<_> = self.executions.values().filter(passed).collect();
        list.sort_by_key(|execution| (execution.queue_deadline, execution.task_id, execution.agent_id));
        list.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn execution_apply(
        &mut self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>> {
        for ExecutionWrite { after, .. } in &writes {
            if !self.executions.contains_key(&(after.task_id, after.agent_id)) {
                let name = format!("{}/{}", after.task_id, after.agent_id);
                return Err(Error::NotFound {
                    what: "execution",
                    name,
                });
            }
        }
        let mut answers = Vec::with_capacity(writes.len());
        for ExecutionWrite {
            before,
            mut after,
            output,
        } in writes
        {
            let key = (after.task_id, after.agent_id);
            let Some(current) = self.executions.get(&key) else {
                continue;
            };
            if (current.state, current.attempt_id) != before {
                answers.push((false, current.clone()));
                continue;
            }
            // Asked for between the caller's read and this write: a wish to cancel is only dropped by a retry.
            after.cancel_requested |= current.cancel_requested && !before.0.is_terminal();
            after.agent_name.clone_from(&current.agent_name);
            after.revision = self.next_revision();
            if let Some(id) = after.attempt_id {
                self.write_attempt(id, &after, attempt_created_at(id, &after));
            }
            if let Some(chunk) = output {
                self.chunk_append(chunk);
            }
            self.executions.insert(key, after.clone());
            answers.push((true, after));
        }
        if let Some(audit) = audit
            && answers.iter().any(|(applied, _)| *applied)
        {
            self.write_audit(audit);
        }
        Ok(answers)
    }

    fn write_attempt(&mut self, id: AttemptId, execution: &Execution, created_at: UnixMicros) {
        let attempt = self.attempts.entry(id).or_insert_with(|| Attempt {
            id,
            task_id: execution.task_id,
            agent_id: execution.agent_id,
            number: execution.attempt_number,
            state: execution.state,
            created_at,
            finished_at: None,
            outcome: None,
        });
        attempt.state = execution.state;
        attempt.finished_at = execution.finished_at;
        attempt.outcome.clone_from(&execution.outcome);
    }

    pub(super) fn attempt_list(&self, task: TaskId) -> Vec<Attempt> {
        let mut list: Vec<_> = self
            .attempts
            .values()
            .filter(|attempt| attempt.task_id == task)
            .cloned()
            .collect();
        list.sort_by_key(|attempt| (attempt.created_at, attempt.id));
        list
    }
}
