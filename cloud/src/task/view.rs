//! Tasks and executions as callers see them: reading, listing, and the wire forms.

use std::collections::{BTreeMap, HashMap};

use opslink::{
    convert,
    id::{AgentId, TaskId},
    pb,
    problem::Problem,
    reason::Reason,
    task::{ExecutionState, TaskState},
    time::UnixMicros,
};
use prost::Message;

use super::Engine;
use crate::service::status::store_problem as problem;
use crate::store::record::{Attempt, Chunk, Execution, Task, TaskFilter};

/// Shortest prefix of a task id that is looked up.
const PREFIX_MIN: usize = 8;
/// Page sizes, as in the .proto file.
const TASKS_DEFAULT: u32 = 50;
const TASKS_MAX: u32 = 1_000;
const EXECUTIONS_DEFAULT: u32 = 1_000;
pub(super) const EXECUTIONS_MAX: u32 = 10_000;
/// Rounds of reading for one page when few tasks are in the wanted states.
const FILTER_ROUNDS: usize = 20;
/// Executions up to which a list looks for the time of the last end.
const FINISH_LOOKUP_MAX: u32 = 200;

/// Executions per state.
pub(super) type Counts = BTreeMap<ExecutionState, u32>;

impl Engine {
    /// Returns one task. `id` may be an unambiguous prefix.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_ID_AMBIGUOUS`, or what the store says.
    pub async fn get(&self, id: &str) -> Result<pb::Task, Problem> {
        let id = self.resolve(id).await?;
        self.task_view(id).await
    }

    /// Lists tasks, newest first.
    ///
    /// # Errors
    /// `AGENT_NOT_FOUND`, `INVALID_ARGUMENT` for a bad page, or what the store says.
    pub async fn list(&self, request: pb::ListTasksRequest) -> Result<pb::ListTasksResponse, Problem> {
        let page_size = page_size(request.page_size, TASKS_DEFAULT, TASKS_MAX)?;
        let wanted = request
            .states()
            .map(TaskState::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let agent_id = match request.agent.as_str() {
            "" => None,
            name => Some(self.agent_named(name)?),
        };
        let mut before: Option<TaskId> = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| bad_token())?),
        };
        let mut answer = pb::ListTasksResponse::default();
        for _ in 0..FILTER_ROUNDS {
            let room = page_size.saturating_sub(u32::try_from(answer.tasks.len()).unwrap_or(u32::MAX));
            // One more than there is room for tells whether there is another page.
            let filter = TaskFilter {
                agent_id,
                before,
                limit: room.saturating_add(1),
            };
            let mut tasks = self.store.task_list(filter).await.map_err(problem)?;
            let more = tasks.len() > room as usize;
            tasks.truncate(room as usize);
            before = tasks.last().map(|task| task.id);
            let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
            let mut counts = self.store.task_counts(&ids).await.map_err(problem)?;
            for task in tasks {
                let counts = counts.remove(&task.id).unwrap_or_default();
                if wanted.is_empty() || wanted.contains(&TaskState::derive(&counts)) {
                    let finished_at = self.finished_at(task.id, &counts).await?;
                    answer.tasks.push(task_pb(&task, &counts, finished_at)?);
                }
            }
            answer.next_page_token = before.filter(|_| more).map(|id| id.to_string()).unwrap_or_default();
            if !more || answer.tasks.len() >= page_size as usize {
                break;
            }
        }
        Ok(answer)
    }

    /// Lists the executions of a task in agent name order.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `INVALID_ARGUMENT` for a bad page, or what the store says.
    pub async fn list_executions(
        &self,
        request: pb::ListExecutionsRequest,
    ) -> Result<pb::ListExecutionsResponse, Problem> {
        let page_size = page_size(request.page_size, EXECUTIONS_DEFAULT, EXECUTIONS_MAX)?;
        let task = self.resolve(&request.task_id).await?;
        let after = Some(request.page_token.as_str()).filter(|token| !token.is_empty());
        let mut executions = self
            .store
            .execution_list(task, after, page_size.saturating_add(1))
            .await
            .map_err(problem)?;
        let more = executions.len() > page_size as usize;
        executions.truncate(page_size as usize);
        self.verify_forgotten(&executions);
        let next_page_token = executions
            .last()
            .filter(|_| more)
            .map(|execution| execution.agent_name.clone())
            .unwrap_or_default();
        let attempts = self.attempts(task).await?;
        let executions = executions
            .iter()
            .map(|execution| execution_pb(execution, attempts.of(execution)))
            .collect();
        Ok(pb::ListExecutionsResponse {
            executions,
            next_page_token,
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
    pub(super) async fn task_view(&self, id: TaskId) -> Result<pb::Task, Problem> {
        let task = self.task(id).await?;
        let counts = self
            .store
            .task_counts(&[id])
            .await
            .map_err(problem)?
            .remove(&id)
            .unwrap_or_default();
        let finished_at = self.finished_at(id, &counts).await?;
        task_pb(&task, &counts, finished_at)
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

/// The wire form of a task.
pub(super) fn task_pb(task: &Task, counts: &Counts, finished_at: Option<UnixMicros>) -> Result<pb::Task, Problem> {
    let corrupt = |error: prost::DecodeError| Problem::new(Reason::Internal).with("detail", error);
    let state = TaskState::derive(counts);
    Ok(pb::Task {
        id: task.id.to_string(),
        spec: Some(pb::TaskSpec::decode(task.spec.clone()).map_err(corrupt)?),
        selector: Some(pb::Selector::decode(task.selector.clone()).map_err(corrupt)?),
        rollout: Some(pb::Rollout {
            max_parallel: task.max_parallel,
            max_failures: task.max_failures,
        }),
        queueing: Some(pb::Queueing {
            enabled: task.queue_ttl_secs.is_some(),
            ttl_secs: task.queue_ttl_secs.unwrap_or(0),
        }),
        state: pb::TaskState::from(state).into(),
        counts: counts_pb(counts),
        created_by: task.created_by.clone(),
        created_at: Some(convert::timestamp(task.created_at)),
        finished_at: finished_at.filter(|_| state.is_terminal()).map(convert::timestamp),
        reason: task.reason.clone(),
        cancel_requested: task.cancel_requested,
    })
}

pub(super) fn counts_pb(counts: &Counts) -> Vec<pb::StateCount> {
    let some = counts.iter().filter(|(_, count)| **count > 0);
    some.map(|(state, count)| pb::StateCount {
        state: pb::ExecutionState::from(*state).into(),
        count: *count,
    })
    .collect()
}

/// The wire form of an execution.
pub(super) fn execution_pb(execution: &Execution, attempts: &[Attempt]) -> pb::Execution {
    let mut list: Vec<pb::Attempt> = attempts.iter().map(attempt_pb).collect();
    if let Some(attempt) = execution.attempt_id {
        // The execution is newer than a list that was read before it.
        let newest = pb::Attempt {
            id: attempt.to_string(),
            number: execution.attempt_number,
            state: pb::ExecutionState::from(execution.state).into(),
            created_at: None,
            finished_at: execution.finished_at.map(convert::timestamp),
        };
        match list.iter_mut().find(|known| known.id == newest.id) {
            Some(known) => {
                *known = pb::Attempt {
                    created_at: known.created_at,
                    ..newest
                }
            }
            None => list.push(newest),
        }
    }
    pb::Execution {
        task_id: execution.task_id.to_string(),
        agent_id: execution.agent_id.to_string(),
        agent_name: execution.agent_name.clone(),
        state: pb::ExecutionState::from(execution.state).into(),
        attempt_id: execution.attempt_id.map(|id| id.to_string()).unwrap_or_default(),
        attempt_number: execution.attempt_number,
        started_at: execution.started_at.map(convert::timestamp),
        finished_at: execution.finished_at.map(convert::timestamp),
        outcome: execution.outcome.clone().map(Into::into),
        attempts: list,
        output_verified: execution.output_verified,
        revision: execution.revision,
    }
}

fn attempt_pb(attempt: &Attempt) -> pb::Attempt {
    pb::Attempt {
        id: attempt.id.to_string(),
        number: attempt.number,
        state: pb::ExecutionState::from(attempt.state).into(),
        created_at: Some(convert::timestamp(attempt.created_at)),
        finished_at: attempt.finished_at.map(convert::timestamp),
    }
}

/// The wire form of a stored chunk; shares the payload.
pub(crate) fn chunk_pb(chunk: &Chunk) -> pb::LogChunk {
    pb::LogChunk {
        attempt_id: chunk.attempt_id.to_string(),
        first_seq: chunk.first_seq,
        event_count: chunk.event_count,
        first_line: chunk.first_line,
        line_count: chunk.line_count,
        raw_size: chunk.raw_size,
        first_time_us: chunk.first_time.0,
        last_time_us: chunk.last_time.0,
        codec: chunk.codec,
        payload: chunk.payload.clone(),
        outcome: chunk.outcome.clone().map(Into::into),
    }
}

/// A page size within its limits.
pub(crate) fn page_size(asked: i32, default: u32, max: u32) -> Result<u32, Problem> {
    match u32::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(Problem::new(Reason::InvalidArgument)
            .with("field", "page_size")
            .with("detail", "`page_size` must not be negative")),
    }
}

/// A page token that this cloud did not make.
pub(crate) fn bad_token() -> Problem {
    Problem::new(Reason::InvalidArgument).with("field", "page_token").with(
        "detail",
        "`page_token` must be the `next_page_token` of an earlier answer",
    )
}
