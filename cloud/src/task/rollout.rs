//! How a task spreads: starts held executions as others end, and stops when too many went wrong.
//!
//! One worker for all tasks, so that no two decisions about one task are made at once. Ends of a task that come while
//! it decides become one further decision.

use std::{collections::BTreeSet, sync::PoisonError};

use opslink::{id::TaskId, task::ExecutionState, time::UnixMicros};

use super::{
    Engine,
    commit::Intent,
    machine::{CancelCause, Event},
};
use crate::store;

/// Between two tries when the store is away.
const RETRY: std::time::Duration = std::time::Duration::from_millis(500);

/// Decides until the engine stops.
pub(super) async fn run(engine: Engine) {
    loop {
        engine.rollout_due.notified().await;
        let due: BTreeSet<TaskId> =
            std::mem::take(&mut *engine.rollouts.lock().unwrap_or_else(PoisonError::into_inner));
        for task in due {
            if let Err(error) = engine.advance(task).await {
                tracing::warn!(task_id = %task, %error, "a rollout waits for the store");
                tokio::time::sleep(RETRY).await;
                engine.wake_rollout(task);
            }
        }
    }
}

impl Engine {
    async fn advance(&self, task: TaskId) -> store::Result<()> {
        let info = self.info(task).await?;
        let open = self.store.execution_open_of_task(task).await?;
        let held = open
            .iter()
            .filter(|execution| execution.state == ExecutionState::Held)
            .count();
        let waiting = open.iter().filter(|execution| is_waiting(execution.state)).count();
        if waiting == 0 {
            return Ok(());
        }
        if info.max_failures > 0 && self.failures(task).await? >= info.max_failures {
            let waiting = open
                .into_iter()
                .filter(|execution| is_waiting(execution.state))
                .collect();
            self.change_all(waiting, |_| vec![Event::Cancel(CancelCause::RolloutStopped)])
                .await?;
            return Ok(());
        }
        if held == 0 {
            return Ok(());
        }
        let at_work = open.len() - held;
        let room = match info.max_parallel {
            0 => held,
            max => usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(at_work),
        };
        let now = UnixMicros::now();
        let deadline = Some(now.plus(info.queue_ttl));
        let mut held: Vec<_> = open
            .into_iter()
            .filter(|execution| execution.state == ExecutionState::Held)
            .collect();
        held.sort_by(|a, b| a.agent_name.cmp(&b.agent_name));
        let intents = held.into_iter().take(room).map(|execution| {
            let mut events = vec![(Event::Release { deadline }, now)];
            events.extend(self.reserve(&execution).map(|event| (event, now)));
            Intent::new(execution, info.clone(), events)
        });
        let released = self.commit_dispatches(intents.collect(), None).await?;
        for execution in released
            .iter()
            .filter(|execution| execution.state == ExecutionState::Queued)
        {
            self.wake_agent(execution.agent_id);
        }
        Ok(())
    }

    /// Executions that ended otherwise than well, but for those that somebody ended.
    async fn failures(&self, task: TaskId) -> store::Result<u32> {
        let counts = self.store.task_counts(&[task]).await?.remove(&task).unwrap_or_default();
        let failed = counts.iter().filter(|(state, _)| match state {
            ExecutionState::Failed
            | ExecutionState::TimedOut
            | ExecutionState::Refused
            | ExecutionState::Expired
            | ExecutionState::Lost => true,
            ExecutionState::Held
            | ExecutionState::Queued
            | ExecutionState::Dispatched
            | ExecutionState::Running
            | ExecutionState::Succeeded
            | ExecutionState::Canceled => false,
        });
        Ok(failed.map(|(_, count)| count).sum())
    }
}

const fn is_waiting(state: ExecutionState) -> bool {
    matches!(state, ExecutionState::Held | ExecutionState::Queued)
}
