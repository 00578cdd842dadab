//! The same in maps.

use std::collections::{BTreeMap, BTreeSet};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};

use crate::store::{
    Error, Result,
    memory::State,
    record::{Attempt, AttemptHead, Audit, Execution, ExecutionWrite, TaskCounts},
};

const fn is_handed_over(state: ExecutionState) -> bool {
    matches!(state, ExecutionState::Dispatched | ExecutionState::Running)
}

fn limited<'a>(list: impl Iterator<Item = &'a Execution>, limit: u32) -> Vec<Execution> {
    list.take(limit as usize).cloned().collect()
}

impl State {
    pub(in crate::store) fn executions_of(&self, task: TaskId) -> impl Iterator<Item = &Execution> {
        let first = (task, AgentId::from_uuid(uuid::Uuid::nil()));
        self.executions
            .range(first..)
            .take_while(move |((owner, _), _)| *owner == task)
            .map(|(_, execution)| execution)
    }

    /// In order of tasks: the map is.
    fn executions_on(&self, agent: AgentId) -> impl Iterator<Item = &Execution> {
        self.executions
            .values()
            .filter(move |execution| execution.agent_id == agent)
    }

    pub(in crate::store) fn next_revision(&mut self, task: TaskId) -> u64 {
        let next = self.revisions.get(&task).copied().unwrap_or(0) + 1;
        self.revisions.insert(task, next);
        next
    }

    pub(super) fn execution_list(&self, task: TaskId, after: Option<&str>, limit: u32) -> Vec<Execution> {
        let after = |execution: &&Execution| after.is_none_or(|after| execution.agent_name.as_str() > after);
        let mut list: Vec<_> = self.executions_of(task).filter(after).collect();
        list.sort_by(|a, b| (&a.agent_name, a.agent_id).cmp(&(&b.agent_name, b.agent_id)));
        limited(list.into_iter(), limit)
    }

    pub(super) fn execution_by_attempt(&self, attempt: AttemptId) -> Option<Execution> {
        let attempt = self.attempts.get(&attempt)?;
        self.executions.get(&(attempt.task_id, attempt.agent_id)).cloned()
    }

    pub(super) fn execution_by_attempts(&self, attempts: &[AttemptId]) -> BTreeMap<AttemptId, Execution> {
        let found = |id: &AttemptId| Some((*id, self.execution_by_attempt(*id)?));
        attempts.iter().filter_map(found).collect()
    }

    pub(super) fn execution_changes(&self, task: TaskId, after: u64, limit: u32) -> Vec<Execution> {
        let later = |execution: &&Execution| execution.revision > after;
        let mut list: Vec<_> = self.executions_of(task).filter(later).collect();
        list.sort_by_key(|execution| execution.revision);
        limited(list.into_iter(), limit)
    }

    pub(super) fn execution_waiting(&self, agent: AgentId, limit: u32) -> Vec<Execution> {
        let queued = |execution: &&Execution| execution.state == ExecutionState::Queued;
        limited(self.executions_on(agent).filter(queued), limit)
    }

    pub(super) fn execution_handed_over(&self, agent: AgentId) -> Vec<Execution> {
        let handed_over = |execution: &&Execution| is_handed_over(execution.state);
        limited(self.executions_on(agent).filter(handed_over), u32::MAX)
    }

    pub(super) fn execution_open_page(&self, agent: AgentId, after: Option<TaskId>, limit: u32) -> Vec<Execution> {
        let open = |execution: &&Execution| {
            !execution.state.is_terminal() && after.is_none_or(|after| execution.task_id > after)
        };
        limited(self.executions_on(agent).filter(open), limit)
    }

    pub(super) fn execution_open_of_task(&self, task: TaskId) -> Vec<Execution> {
        let open = |execution: &&Execution| !execution.state.is_terminal();
        limited(self.executions_of(task).filter(open), u32::MAX)
    }

    pub(super) fn execution_held(&self, task: TaskId, limit: u32) -> Vec<Execution> {
        let held = |execution: &&Execution| execution.state == ExecutionState::Held;
        limited(self.executions_of(task).filter(held), limit)
    }

    pub(super) fn execution_expired(
        &self,
        now: UnixMicros,
        after: Option<(UnixMicros, TaskId, AgentId)>,
        limit: u32,
    ) -> Vec<Execution> {
        let place = |execution: &Execution| {
            let is_waiting = matches!(execution.state, ExecutionState::Held | ExecutionState::Queued);
            let deadline = execution.queue_deadline.filter(|_| is_waiting)?;
            Some((deadline, execution.task_id, execution.agent_id))
        };
        let passed = |execution: &&Execution| {
            place(execution).is_some_and(|place| place.0 <= now && after.is_none_or(|after| place > after))
        };
        let mut list: Vec<_> = self.executions.values().filter(passed).collect();
        list.sort_by_key(|execution| place(execution));
        limited(list.into_iter(), limit)
    }

    fn by_agent<'a>(
        list: impl Iterator<Item = &'a Execution>,
        after: Option<(AgentId, TaskId)>,
        limit: u32,
    ) -> Vec<Execution> {
        let behind = |execution: &&Execution| after.is_none_or(|after| (execution.agent_id, execution.task_id) > after);
        let mut list: Vec<_> = list.filter(behind).collect();
        list.sort_by_key(|execution| (execution.agent_id, execution.task_id));
        limited(list.into_iter(), limit)
    }

    pub(super) fn execution_stale(
        &self,
        now: UnixMicros,
        after: Option<(AgentId, TaskId)>,
        limit: u32,
    ) -> Vec<Execution> {
        let late = |execution: &&Execution| {
            execution.state == ExecutionState::Dispatched
                && execution.queue_deadline.is_some_and(|deadline| deadline <= now)
        };
        Self::by_agent(self.executions.values().filter(late), after, limit)
    }

    pub(super) fn execution_silent(
        &self,
        seen_before: UnixMicros,
        after: Option<(AgentId, TaskId)>,
        limit: u32,
    ) -> Vec<Execution> {
        let heard = |agent: AgentId| {
            self.presences
                .get(&agent)
                .is_some_and(|presence| presence.last_seen >= seen_before)
        };
        let silent = |execution: &&Execution| is_handed_over(execution.state) && !heard(execution.agent_id);
        Self::by_agent(self.executions.values().filter(silent), after, limit)
    }

    pub(super) fn execution_counts(&self, tasks: &[TaskId]) -> BTreeMap<TaskId, TaskCounts> {
        let mut counts = BTreeMap::new();
        for id in tasks.iter().copied().collect::<BTreeSet<_>>() {
            let of_task: &mut TaskCounts = counts.entry(id).or_default();
            for execution in self.executions_of(id) {
                *of_task.states.entry(execution.state).or_default() += 1;
                of_task.last_end = of_task.last_end.max(execution.finished_at);
            }
        }
        counts
    }

    pub(super) fn execution_apply(
        &mut self,
        writes: &[ExecutionWrite],
        audit: &Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>> {
        let mut answers = Vec::with_capacity(writes.len());
        for ExecutionWrite { before, after, output } in writes {
            let key = (after.task_id, after.agent_id);
            let Some(current) = self.executions.get(&key).cloned() else {
                let name = format!("{}/{}", after.task_id, after.agent_id);
                return Err(Error::not_found("execution", name));
            };
            if (current.state, current.attempt_id) != *before {
                answers.push((false, current));
                continue;
            }
            let now = Execution {
                // Asked for between the caller's read and this write: a wish to cancel is only dropped by a retry.
                cancel_requested: after.cancel_requested || current.cancel_requested && !before.0.is_terminal(),
                agent_name: current.agent_name,
                revision: self.next_revision(after.task_id),
                ..after.clone()
            };
            if let Some(id) = now.attempt_id {
                self.write_attempt(id, &now, now.attempt_created_at(id));
            }
            if let Some(chunk) = output {
                self.append(chunk);
            }
            self.executions.insert(key, now.clone());
            answers.push((true, now));
        }
        if let Some(audit) = audit
            && answers.iter().any(|(applied, _)| *applied)
        {
            self.audit_insert(audit)?;
        }
        Ok(answers)
    }

    pub(in crate::store) fn write_attempt(&mut self, id: AttemptId, execution: &Execution, created_at: UnixMicros) {
        let before = self.attempts.get(&id).cloned();
        let attempt = before.unwrap_or_else(|| Attempt {
            id,
            task_id: execution.task_id,
            agent_id: execution.agent_id,
            number: execution.attempt_number,
            state: execution.state,
            created_at,
            finished_at: None,
            outcome: None,
        });
        let now = Attempt {
            state: execution.state,
            finished_at: execution.finished_at,
            outcome: execution.outcome.clone(),
            ..attempt
        };
        self.attempts.insert(id, now);
    }

    pub(super) fn attempt_heads(&self, task: TaskId, agents: &[AgentId]) -> Vec<AttemptHead> {
        let agents: BTreeSet<AgentId> = agents.iter().copied().collect();
        let of_them = |attempt: &&Attempt| attempt.task_id == task && agents.contains(&attempt.agent_id);
        let head = |attempt: &Attempt| AttemptHead {
            id: attempt.id,
            agent_id: attempt.agent_id,
            number: attempt.number,
            state: attempt.state,
            created_at: attempt.created_at,
            finished_at: attempt.finished_at,
        };
        let mut list: Vec<_> = self.attempts.values().filter(of_them).map(head).collect();
        list.sort_by_key(|attempt| (attempt.agent_id, attempt.number));
        list
    }

    pub(super) fn attempt_list(&self, task: TaskId) -> Vec<Attempt> {
        let of_task = self.attempts.values().filter(|attempt| attempt.task_id == task);
        let mut list: Vec<_> = of_task.cloned().collect();
        list.sort_by_key(|attempt| (attempt.created_at, attempt.id));
        list
    }

    pub(super) fn attempt_get(&self, id: AttemptId) -> Option<Attempt> {
        self.attempts.get(&id).cloned()
    }
}
