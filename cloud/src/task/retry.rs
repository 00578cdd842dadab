//! Makes new attempts for executions of a finished task.
//!
//! With a request id the new attempts' ids follow from it, so a repeated request finds them there and makes no others,
//! also after a restart of the cloud.

use std::collections::HashSet;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};
use ring::digest;

use super::{
    Engine,
    commit::Intent,
    machine::Event,
    submit::{count_of_agents, listed, width},
    view::{EXECUTIONS_MAX, execution_pb},
};
use crate::{identity::Caller, service::status::store_problem as problem, store::record::Execution};

impl Engine {
    /// Retries what did not succeed.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_NOT_FINISHED`, `NOTHING_TO_RETRY`, `AGENT_NOT_FOUND`, `AGENT_OFFLINE`, or what the store
    /// says.
    pub async fn retry(
        &self,
        caller: &Caller,
        request: pb::RetryTaskRequest,
    ) -> Result<pb::RetryTaskResponse, Problem> {
        let id = self.resolve(&request.id).await?;
        self.task(id).await?;
        let mut wanted = HashSet::new();
        for name in &request.agents {
            wanted.insert(self.agent_named(name)?);
        }
        let all = self
            .store
            .execution_list(id, None, EXECUTIONS_MAX)
            .await
            .map_err(problem)?;
        if !request.request_id.is_empty() {
            let attempts = self.attempts(id).await?;
            let answers = |execution: &&Execution| {
                let hash = request_hash(id, execution.agent_id, &request.request_id);
                attempts
                    .of(execution)
                    .iter()
                    .any(|attempt| is_made_from(attempt.id, &hash))
            };
            let made = all.iter().filter(answers);
            let made: Vec<_> = made
                .map(|execution| execution_pb(execution, attempts.of(execution)))
                .collect();
            if !made.is_empty() {
                let task = Some(self.task_view(id).await?);
                return Ok(pb::RetryTaskResponse { task, executions: made });
            }
        }
        if all.iter().any(|execution| !execution.state.is_terminal()) {
            return Err(Problem::new(Reason::TaskNotFinished).with("task", id));
        }
        let again: Vec<Execution> = all
            .into_iter()
            .filter(|execution| wanted.is_empty() || wanted.contains(&execution.agent_id))
            .filter(|execution| may_retry(execution.state, request.include_lost, !wanted.is_empty()))
            .collect();
        if again.is_empty() {
            return Err(Problem::new(Reason::NothingToRetry).with("task", id));
        }
        let executions = self.retry_all(caller, id, again, &request).await?;
        let executions = executions
            .iter()
            .map(|execution| execution_pb(execution, &[]))
            .collect();
        Ok(pb::RetryTaskResponse {
            task: Some(self.task_view(id).await?),
            executions,
        })
    }

    async fn retry_all(
        &self,
        caller: &Caller,
        id: TaskId,
        again: Vec<Execution>,
        request: &pb::RetryTaskRequest,
    ) -> Result<Vec<Execution>, Problem> {
        let info = self.info(id).await.map_err(problem)?;
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
            .filter(|execution| !self.links.is_live(execution.agent_id))
            .collect();
        if !info.queueing && !offline.is_empty() {
            let names = listed(offline.iter().map(|execution| execution.agent_name.as_str()));
            return Err(Problem::new(Reason::AgentOffline)
                .with("agents", names)
                .with("count", offline.len()));
        }
        let now = UnixMicros::now();
        let deadline = Some(now.plus(info.queue_ttl));
        let width = width(info.max_parallel);
        let count = again.len();
        let mut intents = Vec::with_capacity(count);
        for (index, execution) in again.into_iter().enumerate() {
            let fresh = match request.request_id.as_str() {
                "" => AttemptId::new(),
                request_id => made_from(now, &request_hash(id, execution.agent_id, request_id)),
            };
            let hold = index >= width;
            let mut events = vec![(Event::Retry { fresh, deadline, hold }, now)];
            if !hold && self.links.is_live(execution.agent_id) && self.book.take_slot(execution.agent_id, fresh) {
                events.push((Event::Dispatch { fresh }, now));
            }
            intents.push(Intent::new(execution, info.clone(), events));
        }
        let audit = caller.audit(
            "task.retry",
            format!("task/{id}"),
            format!("on {}", count_of_agents(count)),
        );
        let retried = self.commit_dispatches(intents, Some(audit)).await.map_err(problem)?;
        for execution in retried
            .iter()
            .filter(|execution| execution.state == ExecutionState::Queued)
        {
            self.wake_agent(execution.agent_id);
        }
        Ok(retried)
    }
}

/// Says whether an ended execution is retried: what succeeded only when its agent is named.
const fn may_retry(state: ExecutionState, include_lost: bool, named: bool) -> bool {
    match state {
        ExecutionState::Succeeded => named,
        ExecutionState::Lost => include_lost,
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
