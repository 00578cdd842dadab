//! Tasks and executions as callers see them: reading and listing.

use std::collections::{BTreeMap, HashMap};

use opslink::{
    id::{AgentId, TaskId},
    problem::Problem,
    reason::Reason,
    task::{ExecutionState, TaskState},
    time::UnixMicros,
};

use super::{
    answer::{ExecutionView, Page, TaskView},
    request::{ListExecutions, ListTasks},
};
use crate::{
    agents::Directory,
    status::store_problem as problem,
    store::{
        Store,
        record::{Attempt, Execution, Task, TaskFilter},
    },
};

/// Shortest prefix of a task id that is looked up.
const PREFIX_MIN: usize = 8;
/// Most executions of a task.
pub(super) const EXECUTIONS_MAX: u32 = 10_000;
/// Rounds of reading for one page when few tasks are in the wanted states.
const FILTER_ROUNDS: usize = 20;
/// Executions up to which a list looks for the time of the last end.
const FINISH_LOOKUP_MAX: u32 = 200;

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
            counts.retain(|_, counts| wanted.is_empty() || wanted.contains(&TaskState::derive(counts)));
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
                let counts = counts.remove(&task.id).unwrap_or_default();
                let finished_at = self.finished_at(task.id, &counts).await?;
                bytes += task.spec.len() + task.selector.len();
                page.items.push(TaskView {
                    task,
                    counts,
                    finished_at,
                });
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
        self.executions(task, request.after.as_deref(), request.page_size).await
    }

    /// The executions of a task after this agent name.
    pub(super) async fn executions(
        &self,
        task: TaskId,
        after: Option<&str>,
        page_size: u32,
    ) -> Result<Page<ExecutionView, String>, Problem> {
        let mut executions = self
            .store
            .execution_list(task, after, page_size.saturating_add(1))
            .await
            .map_err(problem)?;
        let more = executions.len() > page_size as usize;
        executions.truncate(page_size as usize);
        let last = executions.last().filter(|_| more);
        let next = last.map(|execution| execution.agent_name.clone());
        let Attempts(mut attempts) = self.attempts(task).await?;
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
        let finished_at = self.finished_at(id, &counts).await?;
        Ok(TaskView {
            task,
            counts,
            finished_at,
        })
    }

    /// Ids of agents that are given by id or name; also of removed ones, when they are given by id.
    pub(super) fn agent_named(&self, name: &str) -> Result<AgentId, Problem> {
        let known = self.directory.find(name).map(|view| view.agent.id);
        let not_found = || Problem::new(Reason::AgentNotFound).with("agent", name);
        known.or_else(|| name.parse().ok()).ok_or_else(not_found)
    }

    /// All attempts of a task, by agent.
    pub(super) async fn attempts(&self, task: TaskId) -> Result<Attempts, Problem> {
        let mut by_agent: HashMap<AgentId, Vec<Attempt>> = HashMap::new();
        for attempt in self.store.attempt_list(task).await.map_err(problem)? {
            by_agent.entry(attempt.agent_id).or_default().push(attempt);
        }
        Ok(Attempts(by_agent))
    }

    /// When the last execution of a finished task ended. Not looked up for very wide tasks: it would cost a full read.
    async fn finished_at(&self, task: TaskId, counts: &Counts) -> Result<Option<UnixMicros>, Problem> {
        if !TaskState::derive(counts).is_terminal() || counts.values().sum::<u32>() > FINISH_LOOKUP_MAX {
            return Ok(None);
        }
        let executions = self
            .store
            .execution_list(task, None, FINISH_LOOKUP_MAX)
            .await
            .map_err(problem)?;
        Ok(executions.iter().filter_map(|execution| execution.finished_at).max())
    }
}

/// Attempts of a task by agent, oldest first.
#[derive(Debug, Default)]
pub(super) struct Attempts(pub(super) HashMap<AgentId, Vec<Attempt>>);

impl Attempts {
    pub(super) fn of(&self, execution: &Execution) -> &[Attempt] {
        self.0.get(&execution.agent_id).map_or(&[], Vec::as_slice)
    }

    /// An execution with its attempts.
    pub(super) fn view(&self, execution: Execution) -> ExecutionView {
        ExecutionView {
            attempts: self.of(&execution).to_vec(),
            execution,
        }
    }

    /// Keeps the list in step with retries that happen after it was read.
    pub(super) fn note(&mut self, execution: &Execution) {
        let Some(id) = execution.attempt_id.filter(|_| execution.attempt_number > 1) else {
            return;
        };
        let list = self.0.entry(execution.agent_id).or_default();
        if !list.iter().any(|attempt| attempt.id == id) {
            list.push(Attempt {
                id,
                task_id: execution.task_id,
                agent_id: execution.agent_id,
                number: execution.attempt_number,
                state: execution.state,
                created_at: UnixMicros::now(),
                finished_at: execution.finished_at,
                outcome: None,
            });
        }
    }
}
