//! Makes new attempts for executions that have ended, whatever the other executions of their task do.
//!
//! With a request id the new attempts' ids follow from it, so a repeated request finds them there and makes no others,
//! also after a restart of the cloud.

use std::collections::HashSet;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};
use ring::digest;

use super::{
    answer::Created,
    attempts,
    commit::Commit,
    dispatch::Dispatch,
    intent::Intent,
    machine::Event,
    presence::Presence,
    request::RetryTask,
    to_the_end,
    view::{EXECUTIONS_MAX, View},
    words::{count_of_agents, listed},
};
use crate::{
    agents::Directory,
    identity::Caller,
    status::store_problem as problem,
    store::record::{Audit, Execution},
};

/// Retries executions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Retry {
    pub(super) commit: Commit,
    pub(super) dispatch: Dispatch,
    pub(super) view: View,
    pub(super) directory: Directory,
    pub(super) presence: Presence,
}

impl Retry {
    /// Retries what has ended and did not succeed, whatever the others do.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_NOT_FINISHED`, `NOTHING_TO_RETRY`, `ATTEMPTS_EXHAUSTED`, `AGENT_NOT_FOUND`,
    /// `AGENT_OFFLINE`, or what the store says.
    ///
    /// # Cancel
    /// What was begun goes on to its end.
    pub(crate) async fn retry(&self, caller: &Caller, request: RetryTask) -> Result<Created, Problem> {
        let id = self.view.resolve(&request.task).await?;
        self.view.task(id).await?;
        let mut wanted = HashSet::new();
        for name in &request.agents {
            wanted.insert(self.view.agent_named(name)?);
        }
        let all = self.executions(id).await?;
        if let Some(request_id) = &request.request_id {
            let made = self.made_before(id, &all, request_id).await?;
            if !made.is_empty() {
                return self.answer(id, made).await;
            }
        }
        let meant = |execution: &&Execution| wanted.is_empty() || wanted.contains(&execution.agent_id);
        let again: Vec<Execution> = all
            .iter()
            .filter(meant)
            .filter(|execution| may_retry(execution.state, &request))
            .cloned()
            .collect();
        if again.is_empty() {
            let open = all.iter().filter(meant).any(|execution| !execution.state.is_terminal());
            let reason = if open {
                Reason::TaskNotFinished
            } else {
                Reason::NothingToRetry
            };
            return Err(Problem::new(reason).with("task", id));
        }
        check_numbers(&again)?;
        let audit = caller.audit(
            "task.retry",
            format!("task/{id}"),
            format!("on {}", count_of_agents(again.len())),
        );
        let retry = self.clone();
        to_the_end(async move {
            let executions = retry.retry_all(id, again, request.request_id.as_deref(), audit).await?;
            retry.answer(id, executions).await
        })
        .await
    }

    async fn answer(&self, id: TaskId, executions: Vec<Execution>) -> Result<Created, Problem> {
        Ok(Created {
            task: self.view.task_view(id).await?,
            executions: executions.into_iter().map(Into::into).collect(),
            is_preview: false,
        })
    }

    async fn executions(&self, id: TaskId) -> Result<Vec<Execution>, Problem> {
        let store = &self.commit.store;
        store.execution_list(id, None, EXECUTIONS_MAX).await.map_err(problem)
    }

    /// Executions that this very request has retried before.
    async fn made_before(&self, id: TaskId, all: &[Execution], request_id: &str) -> Result<Vec<Execution>, Problem> {
        let is_made = |attempt: AttemptId, agent: AgentId| is_made_from(attempt, &request_hash(id, agent, request_id));
        let answers = |execution: &Execution| {
            let newest = execution.attempt_id;
            newest.is_some_and(|newest| is_made(newest, execution.agent_id))
        };
        let mut made = Vec::new();
        for part in attempts::parts(all, attempts::OF_PAGE_MAX) {
            // Only of those that were retried since does an older attempt say so.
            let may_have_older = |execution: &&Execution| execution.attempt_number > 1 && !answers(execution);
            let agents: Vec<AgentId> = part
                .iter()
                .filter(may_have_older)
                .map(|execution| execution.agent_id)
                .collect();
            let store = &self.commit.store;
            let heads = store.attempt_heads(id, &agents).await.map_err(problem)?;
            let of_it = heads.iter().filter(|head| is_made(head.id, head.agent_id));
            let older: HashSet<AgentId> = of_it.map(|head| head.agent_id).collect();
            let is_answered = |execution: &&Execution| answers(execution) || older.contains(&execution.agent_id);
            made.extend(part.iter().filter(is_answered).cloned());
        }
        // One that a lost answer left unsent.
        self.dispatch.send_unknown(made.clone()).await.map_err(problem)?;
        Ok(made)
    }

    async fn retry_all(
        &self,
        id: TaskId,
        again: Vec<Execution>,
        request_id: Option<&str>,
        audit: Audit,
    ) -> Result<Vec<Execution>, Problem> {
        let info = self.commit.info(id).await.map_err(problem)?;
        self.check_agents(&again, info.queueing)?;
        // A rollout decides by itself what of it may start, by the row of work that this writes.
        let hold = info.has_rollout();
        let now = UnixMicros::now();
        let deadline = Some(now.plus(info.queue_ttl));
        let mut intents = Vec::with_capacity(again.len());
        for execution in again {
            let fresh = match request_id {
                None => AttemptId::new(),
                Some(request_id) => made_from(now, &request_hash(id, execution.agent_id, request_id)),
            };
            let retry = Event::Retry {
                of: execution.attempt_id,
                fresh,
                deadline,
                hold,
            };
            let next = Execution {
                attempt_id: Some(fresh),
                ..execution.clone()
            };
            let dispatch = if hold {
                None
            } else {
                self.dispatch.reserve(&next, &info, now)
            };
            let (dispatch, slot) = dispatch.unzip();
            let events = std::iter::once(retry).chain(dispatch).map(|event| (event, now));
            intents.push(Intent::new(execution, info.clone(), events.collect()).with_slot(slot));
        }
        let agents: Vec<_> = intents.iter().map(|intent| intent.execution.agent_id).collect();
        let retried = self.commit.apply(intents, Some(audit)).await;
        if retried.is_err() {
            // It may have been stored all the same: whoever looks next finds it.
            agents.into_iter().for_each(|agent| self.commit.book.set_doubt(agent));
        }
        retried.map_err(problem)
    }

    fn check_agents(&self, again: &[Execution], queueing: bool) -> Result<(), Problem> {
        let gone: Vec<_> = again
            .iter()
            .filter(|execution| self.directory.get(execution.agent_id).is_none())
            .collect();
        if !gone.is_empty() {
            let names = listed(gone.iter().map(|execution| execution.agent_name.as_str()));
            return Err(Problem::new(Reason::AgentNotFound).with("agent", names));
        }
        let offline: Vec<_> = again
            .iter()
            .filter(|execution| !self.presence.is_here(execution.agent_id))
            .collect();
        if !queueing && !offline.is_empty() {
            let names = listed(offline.iter().map(|execution| execution.agent_name.as_str()));
            return Err(Problem::new(Reason::AgentOffline)
                .with("agents", names)
                .with("count", offline.len()));
        }
        Ok(())
    }
}

/// Refuses executions that have had as many attempts as one may have.
fn check_numbers(again: &[Execution]) -> Result<(), Problem> {
    let is_exhausted = |execution: &&Execution| execution.attempt_number >= attempts::OF_ONE_MAX;
    let exhausted: Vec<_> = again.iter().filter(is_exhausted).collect();
    if exhausted.is_empty() {
        return Ok(());
    }
    let names = listed(exhausted.iter().map(|execution| execution.agent_name.as_str()));
    Err(Problem::new(Reason::AttemptsExhausted)
        .with("agents", names)
        .with("limit", attempts::OF_ONE_MAX))
}

/// Says whether an ended execution is retried: what may have worked only when that was said, also when it is named.
const fn may_retry(state: ExecutionState, request: &RetryTask) -> bool {
    match state {
        ExecutionState::Succeeded => request.include_succeeded,
        ExecutionState::Lost => request.include_lost,
        ExecutionState::Failed
        | ExecutionState::TimedOut
        | ExecutionState::Canceled
        | ExecutionState::Refused
        | ExecutionState::Expired => true,
        ExecutionState::Held | ExecutionState::Queued | ExecutionState::Dispatched | ExecutionState::Running => false,
    }
}

/// Ten bytes that stand for a retry request on an agent.
fn request_hash(task: TaskId, agent: AgentId, request_id: &str) -> [u8; 10] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"opslink.v1.RetryTask\0");
    context.update(task.uuid().as_bytes());
    context.update(agent.uuid().as_bytes());
    context.update(request_id.as_bytes());
    let mut bytes = [0; 10];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    bytes
}

/// An attempt id (version 7, like all) whose random part is the hash of the request.
fn made_from(now: UnixMicros, hash: &[u8; 10]) -> AttemptId {
    let millis = u64::try_from(now.0 / 1_000).unwrap_or(0);
    AttemptId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, hash).into_uuid())
}

/// Says whether a request with this hash made the attempt, whenever that was.
fn is_made_from(attempt: AttemptId, hash: &[u8; 10]) -> bool {
    let same = made_from(UnixMicros(0), hash).uuid();
    // The first six bytes are the time.
    attempt
        .uuid()
        .as_bytes()
        .iter()
        .zip(same.as_bytes())
        .skip(6)
        .all(|(a, b)| a == b)
}
