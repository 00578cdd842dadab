//! Tasks and executions as callers see them: reading and listing.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, TaskId},
    problem::Problem,
    reason::Reason,
    task::{ExecutionState, TaskState},
};

use super::{
    answer::{ExecutionView, Page, TaskView},
    attempts,
    request::{ListExecutions, ListTasks},
};
use crate::{
    agents::Directory,
    status::store_problem as problem,
    store::{
        Store,
        record::{Task, TaskFilter},
    },
};

/// Shortest prefix of a task id that is looked up.
const PREFIX_MIN: usize = 8;
/// Most executions of a task.
pub(super) const EXECUTIONS_MAX: u32 = 10_000;
/// Rounds of reading for one page when few tasks are in the wanted states.
const FILTER_ROUNDS: usize = 20;

/// Executions per state.
pub(super) type Counts = BTreeMap<ExecutionState, u32>;

/// Scripts and selectors of one list of tasks: far below what a message may hold.
const BYTES_MAX: usize = 4 << 20;

/// Reads tasks and executions for callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct View {
    pub(super) store: Store,
    pub(super) directory: Directory,
}

impl View {
    /// Returns one task. `id` may be an unambiguous prefix.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_ID_AMBIGUOUS`, or what the store says.
    pub(crate) async fn get(&self, id: &str) -> Result<TaskView, Problem> {
        let id = self.resolve(id).await?;
        self.task_view(id).await
    }

    /// Lists tasks, newest first.
    ///
    /// # Errors
    /// `AGENT_NOT_FOUND`, or what the store says.
    pub(crate) async fn list(&self, request: ListTasks) -> Result<Page<TaskView, TaskId>, Problem> {
        let ListTasks {
            agent,
            states: wanted,
            mut before,
            page_size,
        } = request;
        let agent_id = agent.map(|name| self.agent_named(&name)).transpose()?;
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        for _ in 0..FILTER_ROUNDS {
            let room = page_size.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
            // One more than there is room for tells whether there is another page.
            let filter = TaskFilter {
                agent_id,
                before,
                limit: room.saturating_add(1),
            };
            let mut ids = self.store.task_ids(filter).await.map_err(problem)?;
            let mut more = ids.len() > room as usize;
            ids.truncate(room as usize);
            let mut counts = self.store.execution_counts(&ids).await.map_err(problem)?;
            counts.retain(|_, counts| wanted.is_empty() || wanted.contains(&TaskState::derive(&counts.states)));
            // Scripts are read of those only that are shown, and as many as one answer holds: the rest is the next page.
            let shown: Vec<_> = ids.iter().copied().filter(|id| counts.contains_key(id)).collect();
            let bytes_left = BYTES_MAX.saturating_sub(bytes);
            let mut bodies = self.store.task_bodies(&shown, bytes_left).await.map_err(problem)?;
            let unread = self.first_that_did_not_fit(&shown, &bodies).await?;
            // The first one fits in any case.
            let place = ids.iter().position(|id| Some(*id) == unread).filter(|place| *place > 0);
            if let Some(place) = place {
                ids.truncate(place);
                more = true;
                bytes = BYTES_MAX;
            }
            before = ids.last().copied();
            for task in ids.iter().filter_map(|id| bodies.remove(id)) {
                bytes += task.spec.len() + task.selector.len();
                let counts = counts.remove(&task.id).unwrap_or_default();
                page.items.push(TaskView::of(task, counts));
            }
            page.next = before.filter(|_| more);
            if !more || page.items.len() >= page_size as usize || bytes >= BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }

    /// The first of these tasks whose body was not read although it can be.
    async fn first_that_did_not_fit(
        &self,
        tasks: &[TaskId],
        bodies: &BTreeMap<TaskId, Task>,
    ) -> Result<Option<TaskId>, Problem> {
        for id in tasks.iter().filter(|id| !bodies.contains_key(id)) {
            match self.store.task_get(*id).await {
                Ok(Some(_)) => return Ok(Some(*id)),
                Err(error) if error.may_pass() => return Err(problem(error)),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Lists the executions of a task in agent name order.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, or what the store says.
    pub(crate) async fn list_executions(
        &self,
        request: ListExecutions,
    ) -> Result<Page<ExecutionView, String>, Problem> {
        let task = self.resolve(&request.task).await?;
        let size = request.page_size as usize;
        let limit = request.page_size.saturating_add(1);
        let executions = self.store.execution_list(task, request.after.as_deref(), limit).await;
        let mut executions = executions.map_err(problem)?;
        let found = executions.len();
        executions.truncate(size);
        // All attempts of each of them, and no attempt of any other: a page ends where they become too many.
        executions.truncate(attempts::fitting(&executions, attempts::OF_PAGE_MAX));
        let last = executions.last().filter(|_| executions.len() < found);
        let next = last.map(|execution| execution.agent_name.clone());
        let agents: Vec<AgentId> = executions.iter().map(|execution| execution.agent_id).collect();
        let heads = self.store.attempt_heads(task, &agents).await.map_err(problem)?;
        let mut attempts = attempts::by_agent(heads);
        let items = executions.into_iter().map(|execution| ExecutionView {
            attempts: attempts.remove(&execution.agent_id).unwrap_or_default(),
            execution,
        });
        Ok(Page {
            items: items.collect(),
            next,
        })
    }

    /// Finds a task by its id or by a prefix of it.
    pub(super) async fn resolve(&self, id: &str) -> Result<TaskId, Problem> {
        let not_found = || Problem::new(Reason::TaskNotFound).with("task", id);
        if let Ok(id) = id.parse::<TaskId>() {
            return Ok(id);
        }
        let ambiguous = || Problem::new(Reason::TaskIdAmbiguous).with("task", id);
        if !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') || id.is_empty() || id.len() > 36 {
            return Err(not_found());
        }
        if id.len() < PREFIX_MIN {
            return Err(ambiguous());
        }
        match self.store.task_by_prefix(id).await.map_err(problem)?.as_slice() {
            [] => Err(not_found()),
            [one] => Ok(*one),
            _ => Err(ambiguous()),
        }
    }

    /// The task record, or `TASK_NOT_FOUND`.
    pub(super) async fn task(&self, id: TaskId) -> Result<Task, Problem> {
        let task = self.store.task_get(id).await.map_err(problem)?;
        task.ok_or_else(|| Problem::new(Reason::TaskNotFound).with("task", id))
    }

    /// The task as it is now.
    pub(super) async fn task_view(&self, id: TaskId) -> Result<TaskView, Problem> {
        let task = self.task(id).await?;
        let counts = self
            .store
            .execution_counts(&[id])
            .await
            .map_err(problem)?
            .remove(&id)
            .unwrap_or_default();
        Ok(TaskView::of(task, counts))
    }

    /// Ids of agents that are given by id or name; also of removed ones, when they are given by id.
    pub(super) fn agent_named(&self, name: &str) -> Result<AgentId, Problem> {
        let known = self.directory.find(name).map(|view| view.agent.id);
        let not_found = || Problem::new(Reason::AgentNotFound).with("agent", name);
        known.or_else(|| name.parse().ok()).ok_or_else(not_found)
    }
}
