//! Hands queued executions to agents that are there and have a free slot, first come, first served.
//!
//! Woken by signal, by the sweep, and by agents that attach. A look reads no more than there are free slots.

use std::sync::Arc;

use dashmap::{DashMap, Entry};
use opslink::{id::AgentId, problem::Problem, reason::Reason, task::ExecutionState, time::UnixMicros};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    book::Slot, commit::Commit, info::TaskInfo, intent::Intent, life::handed_over, machine::Event, presence::Presence,
    spawn_until,
};
use crate::{
    signals::Due,
    store::{self, record::Execution},
};

/// Looks into the queues of agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatch {
    commit: Commit,
    presence: Presence,
    gate: Arc<Semaphore>,
    /// Agents whose queues are looked into; true when one more look was asked for meanwhile.
    looking: Arc<DashMap<AgentId, bool>>,
    stop: CancellationToken,
}

impl Dispatch {
    pub(super) fn new(commit: Commit, presence: Presence, gate: Arc<Semaphore>, stop: CancellationToken) -> Self {
        Self {
            commit,
            presence,
            gate,
            looking: Arc::default(),
            stop,
        }
    }

    /// Looks into the queue of whoever is due, until it is dropped.
    pub(super) async fn run(self, due: Arc<Due<AgentId>>) {
        loop {
            for agent in due.take().await {
                self.look_soon(agent);
            }
        }
    }

    /// Looks into the agent's queue, in the background. Several calls at once become one or two looks.
    pub(super) fn look_soon(&self, agent: AgentId) {
        match self.looking.entry(agent) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return;
            }
            Entry::Vacant(place) => {
                place.insert(false);
            }
        }
        let dispatch = self.clone();
        // Ends when the queue is empty, the slots are taken or the agent is gone.
        spawn_until(&self.stop, async move {
            loop {
                let Ok(permit) = dispatch.gate.clone().acquire_owned().await else {
                    return;
                };
                if let Err(error) = dispatch.look(agent).await {
                    // The marks in the book stay: the next end, attach or sweep looks again.
                    tracing::warn!(agent_id = %agent, %error, "a queue waits for the store");
                }
                drop(permit);
                if dispatch.looking.remove_if(&agent, |_, again| !*again).is_some() {
                    return;
                }
                dispatch.looking.insert(agent, false);
            }
        });
    }

    async fn look(&self, agent: AgentId) -> store::Result<()> {
        let book = &self.commit.book;
        if !self.presence.is_here(agent) {
            return Ok(());
        }
        if book.take_doubt(agent) {
            self.send_forgotten(agent)
                .await
                .inspect_err(|_| book.set_doubt(agent))?;
        }
        let room = book.free_slots(agent);
        // Cleared before the look, so that whoever queues meanwhile sets it again.
        book.set_backlog(agent, room == 0);
        if room == 0 {
            return Ok(());
        }
        let limit = room.saturating_add(book.left_alone().on_agent(agent));
        let mut waiting = self
            .commit
            .store
            .execution_waiting(agent, u32::try_from(limit).unwrap_or(u32::MAX))
            .await
            .inspect_err(|_| book.set_backlog(agent, true))?;
        waiting.retain(|execution| !book.left_alone().holds(execution));
        waiting.truncate(room);
        if waiting.len() >= room {
            book.set_backlog(agent, true);
        }
        while let Some((infos, part)) = self
            .commit
            .next_part(&mut waiting)
            .await
            .inspect_err(|_| book.set_backlog(agent, true))?
        {
            let now = UnixMicros::now();
            let intents = part.into_iter().filter_map(|execution| {
                let info = infos.get(&execution.task_id)?.clone();
                let (event, slot) = self.reserve(&execution, &info, now)?;
                Some(Intent::new(execution, info, vec![(event, now)]).with_slot(Some(slot)))
            });
            self.commit
                .apply_each(intents.collect())
                .await
                .map_err(|(error, _)| error)
                .inspect_err(|_| {
                    // Its answer may be all that was lost.
                    book.set_doubt(agent);
                    book.set_backlog(agent, true);
                })?;
        }
        Ok(())
    }

    /// Makes the book what the store says: sends what was handed over without anybody having sent it, and frees slots
    /// of what is no longer at work.
    async fn send_forgotten(&self, agent: AgentId) -> store::Result<()> {
        let active = self.commit.book.active(agent);
        let mut open = self.commit.store.execution_handed_over(agent).await?;
        self.commit.book.forget_ended(agent, active, &open);
        // Those are not known here for a reason: whatever their agent says of them cannot be written.
        open.retain(|execution| !self.commit.book.left_alone().holds(execution));
        self.ask_about_unknown(agent, &open).await?;
        self.send_unknown(open).await
    }

    /// Asks the agent what became of what runs by the store and is not known here. The store went back to an older
    /// state meanwhile: the end was acknowledged and is lost, and an agent that keeps its link has nothing to say.
    async fn ask_about_unknown(&self, agent: AgentId, open: &[Execution]) -> store::Result<()> {
        let is_unknown = |execution: &&Execution| {
            execution.state == ExecutionState::Running
                && handed_over(execution).is_some_and(|attempt| !self.commit.book.knows(attempt))
        };
        if !open.iter().any(|execution| is_unknown(&execution)) {
            return Ok(());
        }
        // Asked once more: one that came to its end between the question and the look is no doubt.
        let mut still = self.commit.store.execution_handed_over(agent).await?;
        still.retain(|execution| !self.commit.book.left_alone().holds(execution));
        if let Some(attempt) = still.iter().find(is_unknown).and_then(handed_over) {
            tracing::warn!(agent_id = %agent, attempt_id = %attempt, "an attempt runs by the store and is not known here: its agent is asked anew");
            let why = Problem::new(Reason::AttemptNotFound).with("attempt", attempt);
            self.commit.outgoing.ask_anew(agent, why);
        }
        Ok(())
    }

    /// Sends those that are dispatched and that nobody here has sent, or is about to send. An agent that has one already
    /// says so.
    pub(super) async fn send_unknown(&self, executions: Vec<Execution>) -> store::Result<()> {
        let book = &self.commit.book;
        let mut unsent = Vec::new();
        for execution in executions {
            let Some(attempt) = handed_over(&execution) else {
                continue;
            };
            // In this order: whoever gives the reservation up for a slot has made the attempt known before.
            if book.is_reserved(execution.agent_id, attempt) {
                // Its answer may be lost: then somebody has to look again.
                book.set_doubt(execution.agent_id);
            } else if !book.knows(attempt) {
                unsent.push(attempt);
            }
        }
        if unsent.is_empty() {
            return Ok(());
        }
        // Asked once more: one that came to its end between the question and the look is unknown too.
        let mut now_there = self.commit.store.execution_by_attempts(&unsent).await?;
        let executions = unsent.iter().filter_map(|attempt| {
            let execution = now_there.remove(attempt)?;
            (handed_over(&execution) == Some(*attempt)).then_some(execution)
        });
        let executions = executions.collect();
        let again = |execution: &Execution| {
            let fresh = execution
                .attempt_id
                .filter(|_| execution.state == ExecutionState::Dispatched);
            let start_by = None;
            fresh
                .map(|fresh| Event::Dispatch { fresh, start_by })
                .into_iter()
                .collect()
        };
        self.commit.change_all(executions, again).await
    }

    #[cfg(test)]
    pub(super) fn gate(&self) -> Arc<Semaphore> {
        Arc::clone(&self.gate)
    }

    /// Takes a slot for an execution that waits, if its agent is there.
    pub(super) fn reserve(&self, execution: &Execution, info: &TaskInfo, now: UnixMicros) -> Option<(Event, Slot)> {
        if !self.presence.is_here(execution.agent_id) {
            return None;
        }
        let fresh = execution.attempt_id.unwrap_or_default();
        let slot = self.commit.book.take_slot(execution.agent_id, fresh)?;
        let start_by = info.start_by(now);
        Some((Event::Dispatch { fresh, start_by }, slot))
    }
}
