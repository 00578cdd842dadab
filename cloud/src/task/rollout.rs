//! How a task spreads: starts held executions as others end, and stops when too many went wrong.
//!
//! A task with a rollout has a row of work from its creation on (and again from a retry), for as long as one of its
//! executions waits; the end of each of them makes the row due, in the same transaction. One row a task, one claim a row:
//! no two decisions about one task are made at once. It reads counts, and as many executions as may start, however wide
//! the task is.

use std::time::Duration;

use async_trait::async_trait;
use opslink::{id::TaskId, task::ExecutionState, time::UnixMicros};

use super::{
    commit::Commit,
    dispatch::Dispatch,
    info::TaskInfo,
    intent::Intent,
    machine::{CancelCause, Event},
    submit::width,
    view::Counts,
};
use crate::{
    crash::crashpoint,
    store::{self, record::Execution},
    work::{Worked, Worker},
};

/// Kind of its rows; the key is the task.
pub(super) const KIND: &str = "rollout";
/// Between two looks without a reason: an end that nobody told is found then.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Executions that are started or stopped in one write.
const PAGE: u32 = 1_000;

/// Decides how tasks spread.
pub(super) struct Rollouts {
    pub(super) commit: Commit,
    pub(super) dispatch: Dispatch,
}

#[async_trait]
impl Worker for Rollouts {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn work(&self, key: &str) -> store::Result<Worked> {
        let task: TaskId = key.parse().map_err(|_| store::Error::Corrupt {
            what: "rollout",
            message: format!("`{key}` is no task"),
        })?;
        // Claimed, and then carried out: in between and after it, a death leaves the row to the next process.
        crashpoint!("rollout.claimed");
        let worked = self.advance(task).await;
        crashpoint!("rollout.carried_out");
        worked
    }
}

impl Rollouts {
    async fn advance(&self, task: TaskId) -> store::Result<Worked> {
        let info = self.commit.info(task).await?;
        let store = &self.commit.store;
        let mut held_before = u32::MAX;
        loop {
            let mut counts = store.execution_counts(&[task]).await?;
            let counts = counts.remove(&task).unwrap_or_default().states;
            let count = |state| counts.get(&state).copied().unwrap_or(0);
            let held = count(ExecutionState::Held);
            if held == 0 && count(ExecutionState::Queued) == 0 {
                return Ok(Worked::Done);
            }
            if info.max_failures > 0 && failures(&counts) >= info.max_failures {
                self.stop(task).await?;
                return Ok(Worked::Done);
            }
            let at_work = [
                ExecutionState::Queued,
                ExecutionState::Dispatched,
                ExecutionState::Running,
            ];
            let at_work: u32 = at_work.into_iter().map(count).sum();
            let room = width(info.max_parallel).saturating_sub(at_work as usize);
            let limit = u32::try_from(room).unwrap_or(u32::MAX).min(held).min(PAGE);
            // The last turn started none: what is left cannot be read, or the store does not take its change.
            let is_stuck = held >= held_before;
            if limit == 0 || is_stuck {
                return Ok(Worked::Again(LOOK_EVERY));
            }
            held_before = held;
            let left_alone = self.commit.book.left_alone();
            let more = u32::try_from(left_alone.of_task(task)).unwrap_or(u32::MAX);
            let mut start = store.execution_held(task, limit.saturating_add(more)).await?;
            start.retain(|execution| !left_alone.holds(execution));
            start.truncate(limit as usize);
            self.start(start, &info).await?;
        }
    }

    async fn start(&self, held: Vec<Execution>, info: &std::sync::Arc<TaskInfo>) -> store::Result<()> {
        let now = UnixMicros::now();
        let deadline = Some(now.plus(info.queue_ttl));
        let intents = held.into_iter().map(|execution| {
            let (dispatch, slot) = self.dispatch.reserve(&execution, info, now).unzip();
            let events = std::iter::once(Event::Release { deadline }).chain(dispatch);
            let events = events.map(|event| (event, now)).collect();
            Intent::new(execution, info.clone(), events).with_slot(slot)
        });
        let started = self.commit.apply_each(intents.collect()).await;
        started.map_err(|(error, intents)| {
            for intent in intents {
                // Its answer may be all that was lost.
                self.commit.book.set_doubt(intent.execution.agent_id);
            }
            error
        })
    }

    async fn stop(&self, task: TaskId) -> store::Result<()> {
        let mut open = self.commit.store.execution_open_of_task(task).await?;
        open.retain(|execution| matches!(execution.state, ExecutionState::Held | ExecutionState::Queued));
        let stop = |_: &Execution| vec![Event::Cancel(CancelCause::RolloutStopped)];
        self.commit.change_all(open, stop).await
    }
}

/// Executions that ended otherwise than well, but for those that somebody ended.
fn failures(counts: &Counts) -> u32 {
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
    failed.map(|(_, count)| *count).sum()
}
