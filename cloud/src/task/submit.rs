//! Creates a task: from a request to rows that are durable, and frames that are on their way.
//!
//! One commit: executions whose agents are there are stored as dispatched, with their attempt ids, and handed to the
//! links right after it. Both are one piece of work that goes on when its caller goes away.

use futures::future::BoxFuture;
use opslink::{
    convert::InvalidMessage, id::TaskId, problem::Problem, reason::Reason, task::ExecutionState, time::UnixMicros,
};

use super::{
    answer::{Created, TaskView},
    book::Slot,
    commit::Commit,
    dispatch::Dispatch,
    info::TaskInfo,
    machine::Event,
    presence::Presence,
    preview,
    request::{CreateTask, NewTask},
    rollout, targets, to_the_end,
    view::{Counts, EXECUTIONS_MAX, View},
    words::{count_of_agents, listed},
};
use crate::{
    agents::{AgentView, Directory},
    crash::crashpoint,
    identity::Caller,
    status::store_problem as problem,
    store::{
        self, Tx,
        record::{Audit, Execution, NewWork, Task, TaskCreated},
    },
    work,
};

/// A request that makes sense, and whom it means.
struct Draft {
    kind: &'static str,
    task: Task,
    info: TaskInfo,
    agents: Vec<AgentView>,
}

/// An execution that is about to be created, with the slot that it takes.
struct Placed {
    execution: Execution,
    slot: Option<Slot>,
}

/// Creates tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Submit {
    pub(super) commit: Commit,
    pub(super) dispatch: Dispatch,
    pub(super) view: View,
    pub(super) directory: Directory,
    pub(super) presence: Presence,
}

impl Submit {
    /// Creates a task and starts it.
    ///
    /// # Errors
    /// What is wrong with the request or its targets, see the catalogue; or what the store says. Nothing was created.
    ///
    /// # Cancel
    /// What was begun goes on to its end.
    pub(crate) async fn create(&self, caller: &Caller, request: CreateTask) -> Result<Created, Problem> {
        let CreateTask {
            request_id,
            request_hash,
            task,
        } = request;
        let request_id = request_id.as_deref();
        let is_dry_run = task.as_ref().is_ok_and(|task| task.dry_run);
        let draft = match self.draft(caller, task, request_id, &request_hash).await {
            Ok(draft) => draft,
            Err(refusal) => return self.refused(caller, request_id, &request_hash, refusal).await,
        };
        if is_dry_run {
            return Ok(preview::of(draft.task, &draft.agents));
        }
        let count = draft.agents.len();
        let detail = format!("{} on {} {}", draft.kind, count_of_agents(count), draft.task.reason);
        let audit = caller.audit(
            "task.create",
            format!("task/{}", draft.task.id),
            detail.trim_end().to_owned(),
        );
        let submit = self.clone();
        to_the_end(async move { submit.store(draft, audit).await }).await
    }

    /// What cannot be done now may have been done before, and its targets may have gone meanwhile: then the first answer
    /// stands.
    async fn refused(
        &self,
        caller: &Caller,
        request_id: Option<&str>,
        request_hash: &[u8],
        refusal: Problem,
    ) -> Result<Created, Problem> {
        let Some(request_id) = request_id else {
            return Err(refusal);
        };
        let before = self.commit.store.task_by_request(&caller.actor, request_id).await;
        match before.map_err(problem)? {
            Some((task, hash)) if hash == request_hash => self.created_before(task).await,
            Some(_) => Err(reused(request_id)),
            None => Err(refusal),
        }
    }

    async fn store(&self, draft: Draft, audit: Audit) -> Result<Created, Problem> {
        let Draft { task, info, agents, .. } = draft;
        let placed = self.place(&task, &info, &agents);
        let executions: Vec<_> = placed.iter().map(|placed| placed.execution.clone()).collect();
        match self.insert(&task, &executions, audit).await.map_err(problem)? {
            TaskCreated::New => {}
            TaskCreated::Replayed(first) => return self.created_before(first).await,
            TaskCreated::RequestIdConflict => return Err(reused(task.request_id.as_deref().unwrap_or_default())),
        }
        crashpoint!("task.created");
        let info = self.commit.book.infos().keep(info);
        for Placed { execution, slot } in placed {
            self.commit.placed(&info, execution, slot);
        }
        self.end_removed(&executions).await;
        let mut counts = Counts::new();
        for execution in &executions {
            *counts.entry(execution.state).or_default() += 1;
        }
        Ok(Created {
            task: TaskView {
                task,
                counts,
                finished_at: None,
            },
            executions: executions.into_iter().map(Into::into).collect(),
            is_preview: false,
        })
    }

    /// Stores the task. When the store's answer is lost, it is asked whether the task is there.
    async fn insert(&self, task: &Task, executions: &[Execution], audit: Audit) -> store::Result<TaskCreated> {
        let store = &self.commit.store;
        let rollout = (task.max_parallel > 0 || task.max_failures > 0)
            .then(|| work::row(rollout::KIND, task.id, task.created_at.plus(rollout::LOOK_EVERY)));
        let input = (task.clone(), executions.to_vec(), audit, Vec::from_iter(rollout));
        let error = match store.write(input, create_with_work).await {
            Err(error) if error.may_be_done() => error,
            answer => return answer,
        };
        if matches!(store.task_get(task.id).await, Ok(Some(_))) {
            return Ok(TaskCreated::New);
        }
        // Also when it is not there: its commit may still be under way. Whoever looks next at these agents finds what became
        // of it.
        for execution in executions {
            self.commit.book.set_doubt(execution.agent_id);
        }
        Err(error)
    }

    /// Ends what was created for agents that were removed between the look and the commit. Whoever removes an agent
    /// takes it out of the directory first and looks for its executions then.
    async fn end_removed(&self, executions: &[Execution]) {
        let is_gone = |execution: &&Execution| self.directory.get(execution.agent_id).is_none();
        let gone: Vec<_> = executions.iter().filter(is_gone).cloned().collect();
        if !gone.is_empty()
            && let Err(error) = self.commit.change_all(gone, |_| vec![Event::AgentRemoved]).await
        {
            tracing::warn!(%error, "executions of removed agents wait for the store");
        }
    }

    async fn draft(
        &self,
        caller: &Caller,
        new: Result<NewTask, Problem>,
        request_id: Option<&str>,
        request_hash: &[u8],
    ) -> Result<Draft, Problem> {
        let new = new?;
        let kind = new.spec.action.kind();
        let agents = self.targets(&caller.actor, &new, kind).await?;
        let task = Task {
            id: TaskId::new(),
            spec: new.spec_bytes,
            selector: new.selector_bytes,
            max_parallel: new.max_parallel,
            max_failures: new.max_failures,
            queue_ttl_secs: new.queueing.then_some(new.queue_ttl_secs),
            created_by: caller.actor.clone(),
            created_at: UnixMicros::now(),
            request_id: request_id.map(str::to_owned),
            request_hash: request_hash.to_vec(),
            reason: new.reason,
            cancel_requested: false,
        };
        // Of what is stored: the spec that came is slices of its request, and would keep all of that in memory for as long
        // as the task is at work.
        let info = TaskInfo::read(&task).map_err(problem)?;
        Ok(Draft {
            kind,
            task,
            info,
            agents,
        })
    }

    /// The agents that a selector means, if the task can go to all of them.
    async fn targets(&self, actor: &str, new: &NewTask, kind: &str) -> Result<Vec<AgentView>, Problem> {
        let agents = targets::meant(&self.directory, actor, new.selector.clone()).await?;
        // First: whoever sees the list again also sees who of them is offline.
        targets::as_shown(&self.directory, &agents, new.expected.as_deref())?;
        if agents.is_empty() {
            return Err(Problem::new(Reason::SelectorNoMatch).with("selector", &new.selector_text));
        }
        if agents.len() > EXECUTIONS_MAX as usize {
            let detail = format!("means {} agents; a task has at most {EXECUTIONS_MAX}", agents.len());
            return Err(InvalidMessage::new("selector", detail).into());
        }
        let offline: Vec<_> = agents
            .iter()
            .filter(|view| !self.presence.is_here(view.agent.id))
            .collect();
        if !new.queueing && !offline.is_empty() {
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
    fn place(&self, task: &Task, info: &TaskInfo, agents: &[AgentView]) -> Vec<Placed> {
        let width = width(task.max_parallel);
        let now = task.created_at;
        let place = |(index, view): (usize, &AgentView)| {
            let mut execution = blank(task.id, view);
            if index >= width {
                return Placed { execution, slot: None };
            }
            execution.state = ExecutionState::Queued;
            execution.queue_deadline = Some(now.plus(info.queue_ttl));
            let reserved = self.dispatch.reserve(&execution, info, now);
            let Some((Event::Dispatch { fresh, start_by }, slot)) = reserved else {
                return Placed { execution, slot: None };
            };
            execution.state = ExecutionState::Dispatched;
            execution.attempt_id = Some(fresh);
            execution.attempt_number = 1;
            execution.queue_deadline = start_by.or(execution.queue_deadline);
            Placed {
                execution,
                slot: Some(slot),
            }
        };
        agents.iter().enumerate().map(place).collect()
    }

    /// The answer to a request that was answered before: its executions, like then without attempts beside the newest.
    /// What it created and nobody sent is sent now.
    async fn created_before(&self, task: TaskId) -> Result<Created, Problem> {
        let store = &self.commit.store;
        let open = store.execution_open_of_task(task).await.map_err(problem)?;
        self.dispatch.send_unknown(open).await.map_err(problem)?;
        let executions = store
            .execution_list(task, None, EXECUTIONS_MAX)
            .await
            .map_err(problem)?;
        Ok(Created {
            task: self.view.task_view(task).await?,
            executions: executions.into_iter().map(Into::into).collect(),
            is_preview: false,
        })
    }
}

type Input = (Task, Vec<Execution>, Audit, Vec<NewWork>);

/// A plain task brings no work.
fn create_with_work<'a>(tx: &'a Tx, input: &'a Input) -> BoxFuture<'a, store::Result<TaskCreated>> {
    let (task, executions, audit, work) = input;
    Box::pin(async move {
        let created = tx.task_create(task, executions, audit).await?;
        if created == TaskCreated::New && !work.is_empty() {
            tx.work_add(work).await?;
        }
        Ok(created)
    })
}

pub(super) fn blank(task_id: TaskId, view: &AgentView) -> Execution {
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

fn reused(request_id: &str) -> Problem {
    Problem::new(Reason::RequestIdReused).with("request_id", request_id)
}
