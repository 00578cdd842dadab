//! Ends a task: what waits never starts, what runs is told to end.
//!
//! The wish, its audit row and the ends of what waits are one transaction; what runs hears of the wish after it, and
//! again whenever its agent says that it has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use opslink::{
    id::{AgentId, TaskId},
    problem::Problem,
    time::UnixMicros,
};

use super::{
    answer::TaskView,
    commit::Commit,
    info::TaskInfo,
    life::{life_of, with_life},
    machine::{CancelCause, Event, step},
    request::CancelTask,
    to_the_end,
    view::View,
};
use crate::{
    crash::crashpoint,
    identity::Caller,
    signals::Signal,
    status::store_problem as problem,
    store::{
        self, Tx,
        record::{Audit, Execution, ExecutionWrite},
    },
};

/// Between two tries of a wish whose answer was lost.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Cancels tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cancel {
    pub(super) commit: Commit,
    pub(super) view: View,
}

impl Cancel {
    /// Asks for the end of a task, or of some of its executions. Idempotent; asking for the end of something that has
    /// ended leaves no trace.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, or what the store says.
    ///
    /// # Cancel
    /// What was begun goes on to its end.
    pub(crate) async fn cancel(&self, caller: &Caller, request: CancelTask) -> Result<TaskView, Problem> {
        let id = self.view.resolve(&request.task).await?;
        self.view.task(id).await?;
        let mut agents = Vec::with_capacity(request.agents.len());
        for name in &request.agents {
            agents.push(self.view.agent_named(name)?);
        }
        let audit = caller.audit("task.cancel", format!("task/{id}"), request.reason);
        let cancel = self.clone();
        to_the_end(async move {
            cancel.carry_out(id, agents, audit).await?;
            cancel.view.task_view(id).await
        })
        .await
    }

    async fn carry_out(&self, id: TaskId, agents: Vec<AgentId>, audit: Audit) -> Result<(), Problem> {
        let info = self.commit.info(id).await.map_err(problem)?;
        let input = (id, agents, audit, UnixMicros::now());
        let mut answer = self.commit.store.write(input.clone(), cancel).await;
        if answer.as_ref().is_err_and(store::Error::may_be_done) {
            // The wish is idempotent, so it is simply made once more.
            answer = self.commit.store.write(input.clone(), cancel).await;
            if answer.as_ref().is_err_and(store::Error::may_pass) {
                let (cancel, info) = (self.clone(), Arc::clone(&info));
                // Ends when the store answers.
                tokio::spawn(async move { cancel.carry_out_later(&info, input).await });
            }
        }
        self.follow(&info, answer.map_err(problem)?);
        Ok(())
    }

    /// A wish that may be durable is carried out, also when its caller was told that the store is away: the agents are
    /// told of it as soon as the store answers.
    async fn carry_out_later(&self, info: &Arc<TaskInfo>, input: Input) {
        loop {
            tokio::time::sleep(AGAIN_AFTER).await;
            match self.commit.store.write(input.clone(), cancel).await {
                Ok(cancelled) => return self.follow(info, cancelled),
                Err(error) if error.may_pass() => {}
                Err(error) => return tracing::error!(task_id = %info.id, %error, "a wish to cancel is left out"),
            }
        }
    }

    /// What follows from a wish that is durable.
    fn follow(&self, info: &Arc<TaskInfo>, cancelled: Vec<(Execution, Execution)>) {
        if cancelled.is_empty() {
            return;
        }
        crashpoint!("task.cancel_written");
        self.commit.signals.send(Signal::CancelRequested(info.id));
        for (before, now_there) in cancelled {
            self.commit.cancelled(info, before, now_there);
        }
    }
}

type Input = (TaskId, Vec<AgentId>, Audit, UnixMicros);

/// The wish, and the ends of what waits, in one transaction. Returns each open execution as it was and as it is; nothing
/// is written when there is none.
fn cancel<'a>(tx: &'a Tx, input: &'a Input) -> BoxFuture<'a, store::Result<Vec<(Execution, Execution)>>> {
    let (id, agents, audit, now) = input;
    Box::pin(async move {
        let meant: BTreeSet<&AgentId> = agents.iter().collect();
        let is_meant = |execution: &Execution| meant.is_empty() || meant.contains(&execution.agent_id);
        let mut open = tx.execution_open_of_task(*id).await?;
        open.retain(is_meant);
        if open.is_empty() {
            return Ok(Vec::new());
        }
        // One that was written before, by an earlier call or by this one whose answer was lost, is no further change: the
        // agents are told once more, and the audit log is not.
        if open.iter().any(|execution| !execution.cancel_requested) {
            tx.task_request_cancel(id, agents, audit).await?;
            // Whoever changed the task meanwhile, such as a retry, was waited for, and the wish is for that one's too.
            open = tx.execution_open_of_task(*id).await?;
            open.retain(is_meant);
        }
        let wished: Vec<Execution> = open
            .iter()
            .map(|execution| Execution {
                cancel_requested: true,
                ..execution.clone()
            })
            .collect();
        let writes: Vec<ExecutionWrite> = wished.iter().filter_map(|execution| ended(execution, *now)).collect();
        let mut changed: BTreeMap<AgentId, Execution> = BTreeMap::new();
        for (_, execution) in tx.execution_apply(&writes, &None).await? {
            changed.insert(execution.agent_id, execution);
        }
        let pair = |(before, wished): (Execution, Execution)| {
            let now_there = changed.remove(&wished.agent_id).unwrap_or(wished);
            (before, now_there)
        };
        Ok(open.into_iter().zip(wished).map(pair).collect())
    })
}

/// The end of an execution that waits; none for one that was handed over, whose end comes from its agent.
fn ended(execution: &Execution, now: UnixMicros) -> Option<ExecutionWrite> {
    let (life, _) = step(&life_of(execution), &Event::Cancel(CancelCause::Requested), now).ok()?;
    life.state.is_terminal().then(|| ExecutionWrite {
        before: (execution.state, execution.attempt_id),
        after: with_life(execution, life),
        output: None,
    })
}
