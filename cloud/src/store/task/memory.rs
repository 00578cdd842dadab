//! The same in maps.

use std::collections::BTreeMap;

use opslink::id::{AgentId, TaskId};

use super::record::fitting;
use crate::store::{
    Error, Result,
    memory::State,
    record::{Audit, Execution, Task, TaskCreated, TaskFilter},
};

impl State {
    pub(super) fn task_get(&self, id: TaskId) -> Option<Task> {
        self.tasks.get(&id).cloned()
    }

    pub(super) fn task_bodies(&self, ids: &[TaskId], max_bytes: usize) -> BTreeMap<TaskId, Task> {
        let size = |id: &TaskId| self.tasks.get(id).map(|task| task.spec.len() + task.selector.len());
        let fitting = fitting(ids, size, max_bytes);
        fitting
            .into_iter()
            .filter_map(|id| Some((id, self.task_get(id)?)))
            .collect()
    }

    pub(super) fn task_by_prefix(&self, prefix: &str) -> Vec<TaskId> {
        let matching = self.tasks.keys().filter(|id| id.to_string().starts_with(prefix));
        matching.take(2).copied().collect()
    }

    pub(super) fn task_revision(&self, id: TaskId) -> u64 {
        self.revisions.get(&id).copied().unwrap_or(0)
    }

    pub(super) fn task_by_request(&self, created_by: &str, request_id: &str) -> Option<(TaskId, Vec<u8>)> {
        let is_it = |task: &&Task| task.created_by == created_by && task.request_id.as_deref() == Some(request_id);
        let found = self.tasks.values().find(is_it)?;
        Some((found.id, found.request_hash.clone()))
    }

    pub(super) fn task_create(&mut self, task: &Task, executions: &[Execution], audit: &Audit) -> Result<TaskCreated> {
        let request_id = task.request_id.as_deref();
        if let Some((earlier, hash)) = request_id.and_then(|id| self.task_by_request(&task.created_by, id)) {
            return Ok(if hash == task.request_hash {
                TaskCreated::Replayed(earlier)
            } else {
                TaskCreated::RequestIdConflict
            });
        }
        if self.tasks.contains_key(&task.id) {
            return Err(Error::exists("task", task.id));
        }
        for execution in executions {
            let execution = Execution {
                revision: self.next_revision(task.id),
                ..execution.clone()
            };
            if let Some(id) = execution.attempt_id {
                self.write_attempt(id, &execution, task.created_at);
            }
            self.executions
                .insert((execution.task_id, execution.agent_id), execution);
        }
        self.tasks.insert(task.id, task.clone());
        self.audit_insert(audit)?;
        Ok(TaskCreated::New)
    }

    pub(super) fn task_ids(&self, filter: TaskFilter) -> Vec<TaskId> {
        self.task_list(filter).iter().map(|task| task.id).collect()
    }

    pub(super) fn task_list(&self, filter: TaskFilter) -> Vec<Task> {
        let matches = |task: &&Task| {
            filter.before.is_none_or(|before| task.id < before)
                && filter
                    .agent_id
                    .is_none_or(|agent| self.executions.contains_key(&(task.id, agent)))
        };
        let newest_first = self.tasks.values().rev().filter(matches);
        newest_first.take(filter.limit as usize).cloned().collect()
    }

    pub(super) fn task_request_cancel(&mut self, id: &TaskId, agents: &[AgentId], audit: &Audit) -> Result<()> {
        let task = self.tasks.get_mut(id).ok_or_else(|| Error::not_found("task", id))?;
        task.cancel_requested = true;
        let asked = |execution: &&Execution| {
            (agents.is_empty() || agents.contains(&execution.agent_id))
                && !execution.state.is_terminal()
                && !execution.cancel_requested
        };
        let asked: Vec<Execution> = self.executions_of(*id).filter(asked).cloned().collect();
        for execution in asked {
            let execution = Execution {
                cancel_requested: true,
                revision: self.next_revision(*id),
                ..execution
            };
            self.executions
                .insert((execution.task_id, execution.agent_id), execution);
        }
        self.audit_insert(audit)
    }
}
