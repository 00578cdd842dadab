//! Creates a task: from a request to rows that are durable, and frames that are on their way.
//!
//! One commit: executions whose agents are there are stored as dispatched, with their attempt ids, and handed to the
//! links right after it.

use std::time::Duration;

use opslink::{
    convert::InvalidMessage,
    id::{AttemptId, TaskId},
    pb,
    problem::Problem,
    reason::Reason,
    selector::Selector,
    task::{ExecutionState, TaskSpec},
    time::UnixMicros,
};
use prost::Message;
use ring::digest;

use super::{
    Engine,
    book::TaskInfo,
    commit::is_handed_over,
    view::{Counts, EXECUTIONS_MAX, execution_pb, task_pb},
};
use crate::{
    agents::AgentView,
    identity::Caller,
    service::status::store_problem as problem,
    store::record::{Execution, Task, TaskCreated},
};

/// Longest wait in a queue, as in the .proto file.
const QUEUE_TTL_MAX_SECS: u32 = 604_800;
const QUEUE_TTL_DEFAULT_SECS: u32 = 3_600;
/// Names that an error lists before it says 'and N more'.
const NAMES_SHOWN: usize = 10;
/// Longest reason of a caller, in bytes.
const REASON_MAX: usize = 1_000;

/// A request that makes sense, and whom it means.
struct Draft {
    kind: &'static str,
    task: Task,
    info: TaskInfo,
    agents: Vec<AgentView>,
}

impl Engine {
    /// Creates a task and starts it.
    ///
    /// # Errors
    /// What is wrong with the request or its targets, see the catalogue; or what the store says. Nothing was created.
    pub async fn create(
        &self,
        caller: &Caller,
        request: pb::CreateTaskRequest,
    ) -> Result<pb::CreateTaskResponse, Problem> {
        let request_hash = body_hash(&request);
        if let Some((hash, task)) = self.replays.get(&caller.actor, &request.request_id) {
            // The targets may be gone by now: the first answer stands.
            return if hash == request_hash {
                self.created(task).await
            } else {
                Err(reused(&request.request_id))
            };
        }
        let dry_run = request.dry_run;
        let draft = self.draft(caller, request, request_hash)?;
        if dry_run {
            return preview(&draft);
        }
        let Draft {
            kind,
            task,
            info,
            agents,
        } = draft;
        let id = task.id;
        let executions = self.place(&task, &info, &agents);
        let detail = format!("{kind} on {} {}", count_of_agents(executions.len()), task.reason);
        let audit = caller.audit("task.create", format!("task/{id}"), detail.trim_end().to_owned());
        let stored = self.store.task_create(task.clone(), executions.clone(), audit).await;
        match stored {
            Ok(TaskCreated::New) => {}
            Ok(TaskCreated::Replayed(first)) => {
                self.give_back(&executions);
                return self.created(first).await;
            }
            Ok(TaskCreated::RequestIdConflict) => {
                self.give_back(&executions);
                return Err(reused(task.request_id.as_deref().unwrap_or_default()));
            }
            Err(error) => {
                self.give_back(&executions);
                return Err(problem(error));
            }
        }
        self.replays.keep(&task);
        let info = self.book.keep_info(info);
        let mut counts = Counts::new();
        for execution in &executions {
            *counts.entry(execution.state).or_default() += 1;
            if let Some(attempt) = execution.attempt_id {
                self.book.update(&info, execution);
                self.send(&info, execution.agent_id, attempt, execution.queue_deadline);
            } else if execution.state == ExecutionState::Queued {
                // The agent may have come between the look and the commit.
                self.wake_agent(execution.agent_id);
            }
        }
        let executions = executions
            .iter()
            .map(|execution| execution_pb(execution, &[]))
            .collect();
        Ok(pb::CreateTaskResponse {
            task: Some(task_pb(&task, &counts, None)?),
            executions,
        })
    }

    fn draft(&self, caller: &Caller, request: pb::CreateTaskRequest, request_hash: Vec<u8>) -> Result<Draft, Problem> {
        let spec = request
            .spec
            .ok_or_else(|| InvalidMessage::new("spec", "must be given"))?;
        let spec = TaskSpec::try_from(spec)?;
        let kind = spec.action.kind();
        if request.reason.len() > REASON_MAX {
            return Err(InvalidMessage::new("reason", format!("must have at most {REASON_MAX} bytes")).into());
        }
        if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(InvalidMessage::new("request_id", "must be a UUID").into());
        }
        let queueing = request.queueing.unwrap_or_default();
        let queue_ttl_secs = match queueing.ttl_secs {
            0 => QUEUE_TTL_DEFAULT_SECS,
            secs if secs <= QUEUE_TTL_MAX_SECS => secs,
            _ => {
                let detail = format!("must be at most {QUEUE_TTL_MAX_SECS} (7 days)");
                return Err(InvalidMessage::new("queueing.ttl_secs", detail).into());
            }
        };
        let selector = request.selector.unwrap_or_default();
        let agents = self.targets(&selector, kind, queueing.enabled)?;
        let rollout = request.rollout.unwrap_or_default();
        let wire_spec = pb::TaskSpec::from(spec);
        let task = Task {
            id: TaskId::new(),
            spec: wire_spec.encode_to_vec().into(),
            selector: selector.encode_to_vec().into(),
            max_parallel: rollout.max_parallel,
            max_failures: rollout.max_failures,
            queue_ttl_secs: queueing.enabled.then_some(queue_ttl_secs),
            created_by: caller.actor.clone(),
            created_at: UnixMicros::now(),
            request_id: Some(request.request_id).filter(|id| !id.is_empty()),
            request_hash,
            reason: request.reason,
            cancel_requested: false,
        };
        let info = TaskInfo {
            id: task.id,
            spec: wire_spec,
            created_by: task.created_by.clone(),
            max_parallel: task.max_parallel,
            max_failures: task.max_failures,
            queue_ttl: Duration::from_secs(queue_ttl_secs.into()),
            queueing: queueing.enabled,
        };
        Ok(Draft {
            kind,
            task,
            info,
            agents,
        })
    }

    /// The agents that a selector means, if the task can go to all of them.
    fn targets(&self, selector: &pb::Selector, kind: &str, queueing: bool) -> Result<Vec<AgentView>, Problem> {
        let parsed = Selector::parse(selector.clone())?;
        let unknown = parsed.unknown_names(|name| self.directory.find(name).is_some());
        if !unknown.is_empty() {
            return Err(Problem::new(Reason::AgentNotFound).with("agent", listed(unknown.iter().map(String::as_str))));
        }
        let agents = self.directory.select(&parsed);
        if agents.is_empty() {
            return Err(Problem::new(Reason::SelectorNoMatch).with("selector", shown(selector)));
        }
        if agents.len() > EXECUTIONS_MAX as usize {
            let detail = format!("means {} agents; a task has at most {EXECUTIONS_MAX}", agents.len());
            return Err(InvalidMessage::new("selector", detail).into());
        }
        let offline: Vec<_> = agents
            .iter()
            .filter(|view| !self.links.is_live(view.agent.id))
            .collect();
        if !queueing && !offline.is_empty() {
            let names = listed(offline.iter().map(|view| view.agent.name.as_str()));
            return Err(Problem::new(Reason::AgentOffline)
                .with("agents", names)
                .with("count", offline.len()));
        }
        let unable: Vec<_> = agents.iter().filter(|view| !view.has_capability(kind)).collect();
        if !unable.is_empty() {
            let names = listed(unable.iter().map(|view| view.agent.name.as_str()));
            return Err(Problem::new(Reason::ExecutorAbsent)
                .with("kind", kind)
                .with("detail", names));
        }
        Ok(agents)
    }

    /// One execution for each agent: dispatched where there is a slot, queued where there is none, held beyond the
    /// rollout's width. Takes the slots.
    fn place(&self, task: &Task, info: &TaskInfo, agents: &[AgentView]) -> Vec<Execution> {
        let width = width(task.max_parallel);
        let deadline = task.created_at.plus(info.queue_ttl);
        let place = |(index, view): (usize, &AgentView)| {
            let mut execution = blank(task.id, view);
            if index < width {
                let attempt = AttemptId::new();
                execution.state = ExecutionState::Queued;
                execution.queue_deadline = Some(deadline);
                if self.links.is_live(view.agent.id) && self.book.take_slot(view.agent.id, attempt) {
                    execution.state = ExecutionState::Dispatched;
                    execution.attempt_id = Some(attempt);
                    execution.attempt_number = 1;
                }
            }
            execution
        };
        agents.iter().enumerate().map(place).collect()
    }

    /// Frees the slots of executions that were not created after all.
    fn give_back(&self, executions: &[Execution]) {
        for execution in executions.iter().filter(|execution| is_handed_over(execution)) {
            if let Some(attempt) = execution.attempt_id
                && self.book.free_slot(execution.agent_id, attempt)
            {
                self.wake_agent(execution.agent_id);
            }
        }
    }

    /// The answer to a request that was answered before.
    async fn created(&self, task: TaskId) -> Result<pb::CreateTaskResponse, Problem> {
        let request = pb::ListExecutionsRequest {
            task_id: task.to_string(),
            page_size: i32::MAX,
            page_token: String::new(),
        };
        let executions = self.list_executions(request).await?.executions;
        Ok(pb::CreateTaskResponse {
            task: Some(self.task_view(task).await?),
            executions,
        })
    }
}

/// What would be created; no ids, and nothing is taken.
fn preview(draft: &Draft) -> Result<pb::CreateTaskResponse, Problem> {
    let width = width(draft.task.max_parallel);
    let mut counts = Counts::new();
    let mut executions = Vec::with_capacity(draft.agents.len());
    for (index, view) in draft.agents.iter().enumerate() {
        let mut execution = blank(draft.task.id, view);
        if index < width {
            execution.state = if view.online {
                ExecutionState::Dispatched
            } else {
                ExecutionState::Queued
            };
        }
        *counts.entry(execution.state).or_default() += 1;
        executions.push(pb::Execution {
            task_id: String::new(),
            ..execution_pb(&execution, &[])
        });
    }
    let task = pb::Task {
        id: String::new(),
        ..task_pb(&draft.task, &counts, None)?
    };
    Ok(pb::CreateTaskResponse {
        task: Some(task),
        executions,
    })
}

fn blank(task_id: TaskId, view: &AgentView) -> Execution {
    Execution {
        task_id,
        agent_id: view.agent.id,
        agent_name: view.agent.name.clone(),
        state: ExecutionState::Held,
        attempt_id: None,
        attempt_number: 0,
        queue_deadline: None,
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        outcome: None,
        output_verified: false,
        revision: 0,
    }
}

/// Executions of a rollout that are at work at the same time.
pub(super) fn width(max_parallel: u32) -> usize {
    if max_parallel == 0 {
        usize::MAX
    } else {
        max_parallel as usize
    }
}

/// SHA-256 of everything in the request but its id. Maps have no order on the wire, so they are hashed apart, sorted.
fn body_hash(request: &pb::CreateTaskRequest) -> Vec<u8> {
    let mut body = pb::CreateTaskRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let mut context = digest::Context::new(&digest::SHA256);
    if let Some(pb::task_spec::Action::Shell(shell)) = body.spec.as_mut().and_then(|spec| spec.action.as_mut()) {
        let env: std::collections::BTreeMap<_, _> = std::mem::take(&mut shell.env).into_iter().collect();
        for (key, value) in env {
            for text in [key, value] {
                context.update(&(text.len() as u64).to_le_bytes());
                context.update(text.as_bytes());
            }
        }
    }
    context.update(b"body");
    context.update(&body.encode_to_vec());
    context.finish().as_ref().to_vec()
}

fn reused(request_id: &str) -> Problem {
    Problem::new(Reason::RequestIdReused).with("request_id", request_id)
}

/// Says `1 agent`, `2 agents`.
pub(super) fn count_of_agents(count: usize) -> String {
    if count == 1 {
        "1 agent".to_owned()
    } else {
        format!("{count} agents")
    }
}

/// Names in a sentence: the first ten, and how many more there are.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let mut text = names.take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn shown(selector: &pb::Selector) -> String {
    let mut parts = selector.names.clone();
    if !selector.expression.is_empty() {
        parts.push(selector.expression.clone());
    }
    if selector.all {
        parts.push("--all".to_owned());
    }
    parts.extend(selector.exclude.iter().map(|name| format!("--exclude {name}")));
    parts.join(" ")
}
