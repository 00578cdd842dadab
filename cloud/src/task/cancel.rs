//! Ends a task: what waits never starts, what runs is told to end.

use std::collections::HashSet;

use opslink::{pb, problem::Problem};

use super::{
    Engine,
    machine::{CancelCause, Event},
};
use crate::{identity::Caller, service::status::store_problem as problem, tail::Item};

impl Engine {
    /// Asks for the end of a task, or of some of its executions. Idempotent.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, or what the store says.
    pub async fn cancel(&self, caller: &Caller, request: pb::CancelTaskRequest) -> Result<pb::Task, Problem> {
        let id = self.resolve(&request.id).await?;
        self.task(id).await?;
        let mut agents = Vec::with_capacity(request.agents.len());
        for name in &request.agents {
            agents.push(self.agent_named(name)?);
        }
        let audit = caller.audit("task.cancel", format!("task/{id}"), request.reason);
        // The wish first: whatever happens to an execution from here on, it is known.
        self.store
            .task_request_cancel(id, &agents, audit)
            .await
            .map_err(problem)?;
        self.tails.publish(id, || Item::CancelRequested);
        let wanted: HashSet<_> = agents.into_iter().collect();
        let mut open = self.store.execution_open_of_task(id).await.map_err(problem)?;
        open.retain(|execution| wanted.is_empty() || wanted.contains(&execution.agent_id));
        self.change_all(open, |_| vec![Event::Cancel(CancelCause::Requested)])
            .await
            .map_err(problem)?;
        self.task_view(id).await
    }
}
