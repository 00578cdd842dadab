//! The one way that an execution changes: step, write if it still is as it was, then act.

use std::sync::Arc;

use opslink::{task::ExecutionState, time::UnixMicros};

use super::{
    Engine,
    book::TaskInfo,
    machine::{Action, Event, Life, step},
};
use crate::{
    store::{
        self,
        record::{Audit, Chunk, Execution, ExecutionWrite},
    },
    tail::{Item, LiveChunk},
};

/// Rounds against writers that were faster; each round somebody made progress, and an execution has few steps.
const ROUNDS_MAX: usize = 16;

/// What shall happen to one execution. An execution may be in a batch once.
#[derive(Debug)]
pub(crate) struct Intent {
    /// As it was when the decision was made.
    pub(crate) execution: Execution,
    pub(crate) info: Arc<TaskInfo>,
    /// In order; those that mean nothing by then are left out.
    pub(crate) events: Vec<(Event, UnixMicros)>,
    /// For the last acknowledgement: first event that the store does not have.
    pub(crate) next_seq: u64,
    /// All output of the attempt, when it is one small chunk and comes with the end.
    pub(crate) output: Option<WholeOutput>,
}

impl Intent {
    /// Nothing but these events.
    pub(crate) const fn new(execution: Execution, info: Arc<TaskInfo>, events: Vec<(Event, UnixMicros)>) -> Self {
        Self {
            execution,
            info,
            events,
            next_seq: 0,
            output: None,
        }
    }
}

/// All output of an attempt, as it is stored and as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct WholeOutput {
    pub(crate) row: Chunk,
    pub(crate) live: Arc<LiveChunk>,
}

struct Stepped {
    life: Life,
    actions: Vec<Action>,
}

impl Engine {
    /// Carries out the intents in one write, and once more for those that were overtaken. Returns what is now there, in
    /// the same order.
    ///
    /// # Errors
    /// What the store says; then nothing of the failed round was done.
    pub(crate) async fn commit(&self, intents: Vec<Intent>, mut audit: Option<Audit>) -> store::Result<Vec<Execution>> {
        let mut done: Vec<Option<Execution>> = vec![None; intents.len()];
        let mut pending: Vec<(usize, Intent)> = intents.into_iter().enumerate().collect();
        for _ in 0..ROUNDS_MAX {
            let mut writes = Vec::with_capacity(pending.len());
            let mut written = Vec::with_capacity(pending.len());
            for (index, intent) in std::mem::take(&mut pending) {
                let before = life_of(&intent.execution);
                let stepped = fold(&before, &intent);
                if stepped.life == before {
                    self.keep_output(&intent).await?;
                    self.finish(&intent, &intent.execution, &stepped.actions);
                    if let Some(slot) = done.get_mut(index) {
                        *slot = Some(intent.execution);
                    }
                    continue;
                }
                let before = (intent.execution.state, intent.execution.attempt_id);
                writes.push(ExecutionWrite {
                    before,
                    after: with_life(&intent.execution, stepped.life),
                    output: intent.output.as_ref().map(|output| output.row.clone()),
                });
                written.push((index, intent, stepped.actions));
            }
            if writes.is_empty() && audit.is_none() {
                break;
            }
            let results = self.store.execution_apply(writes, audit.take()).await?;
            for ((index, mut intent, actions), (applied, now_there)) in written.into_iter().zip(results) {
                if !applied {
                    intent.execution = now_there;
                    pending.push((index, intent));
                    continue;
                }
                if let Some(output) = intent.output.take() {
                    self.tails.publish(intent.info.id, || Item::Chunk(output.live));
                }
                let publish = now_there.clone();
                self.tails
                    .publish(publish.task_id, || Item::Execution(Arc::new(publish)));
                self.finish(&intent, &now_there, &actions);
                if let Some(slot) = done.get_mut(index) {
                    *slot = Some(now_there);
                }
            }
            if pending.is_empty() {
                break;
            }
        }
        for (index, intent) in pending {
            tracing::error!(task_id = %intent.info.id, "an execution changed under every attempt to change it");
            if let Some(slot) = done.get_mut(index) {
                *slot = Some(intent.execution);
            }
        }
        Ok(done.into_iter().flatten().collect())
    }

    /// The same events for many executions, with what they need looked up.
    pub(crate) async fn change_all(
        &self,
        executions: Vec<Execution>,
        events: impl Fn(&Execution) -> Vec<Event>,
    ) -> store::Result<Vec<Execution>> {
        let now = UnixMicros::now();
        let infos = self.infos(executions.iter().map(|execution| execution.task_id)).await?;
        let intents = executions.into_iter().filter_map(|execution| {
            let info = infos.get(&execution.task_id)?.clone();
            let events = events(&execution).into_iter().map(|event| (event, now)).collect();
            Some(Intent::new(execution, info, events))
        });
        self.commit(intents.collect(), None).await
    }

    /// Stores the output of an attempt whose end changes nothing: it may have come before, and then this does nothing.
    async fn keep_output(&self, intent: &Intent) -> store::Result<()> {
        let Some(output) = &intent.output else { return Ok(()) };
        let appended = self.store.chunk_append(vec![output.row.clone()]).await?;
        if appended.first().is_some_and(|appended| appended.stored) {
            self.tails
                .publish(intent.info.id, || Item::Chunk(Arc::clone(&output.live)));
        }
        Ok(())
    }

    /// What follows from something that is durable. Never waits.
    fn finish(&self, intent: &Intent, execution: &Execution, actions: &[Action]) {
        let agent = execution.agent_id;
        self.book.update(&intent.info, execution);
        for action in actions {
            match *action {
                Action::Send(attempt) => self.send(&intent.info, agent, attempt, execution.queue_deadline),
                Action::SendCancel(attempt) => self.links.send_cancel(agent, attempt),
                Action::Archive(attempt) => {
                    self.links.send_ack(agent, attempt, intent.next_seq, true);
                    if !execution.output_verified {
                        self.verify_later(attempt);
                    }
                }
                Action::Finished => self.finished(intent, execution),
            }
        }
    }

    fn finished(&self, intent: &Intent, execution: &Execution) {
        if let Some(attempt) = execution.attempt_id.or(intent.execution.attempt_id)
            && self.book.free_slot(execution.agent_id, attempt)
        {
            self.wake_agent(execution.agent_id);
        }
        if intent.info.has_rollout() {
            self.wake_rollout(intent.info.id);
        }
    }
}

fn fold(before: &Life, intent: &Intent) -> Stepped {
    let mut stepped = Stepped {
        life: before.clone(),
        actions: Vec::new(),
    };
    for (event, at) in &intent.events {
        match step(&stepped.life, event, *at) {
            Ok((life, actions)) => {
                stepped.life = life;
                stepped.actions.extend(actions);
            }
            Err(illegal) => tracing::debug!(task_id = %intent.info.id, %illegal, "an event came too late"),
        }
    }
    // What was sent and ended within one batch needs no sending any more.
    if stepped.life.state.is_terminal() {
        stepped
            .actions
            .retain(|action| !matches!(action, Action::Send(_) | Action::SendCancel(_)));
    }
    stepped
}

/// What the machine knows of an execution.
pub(crate) fn life_of(execution: &Execution) -> Life {
    Life {
        state: execution.state,
        attempt: execution.attempt_id,
        number: execution.attempt_number,
        queue_deadline: execution.queue_deadline,
        cancel_requested: execution.cancel_requested,
        started_at: execution.started_at,
        finished_at: execution.finished_at,
        outcome: execution.outcome.clone(),
        verified: execution.output_verified,
    }
}

/// The execution with another life.
pub(crate) fn with_life(execution: &Execution, life: Life) -> Execution {
    Execution {
        state: life.state,
        attempt_id: life.attempt,
        attempt_number: life.number,
        queue_deadline: life.queue_deadline,
        cancel_requested: life.cancel_requested,
        started_at: life.started_at,
        finished_at: life.finished_at,
        outcome: life.outcome,
        output_verified: life.verified,
        task_id: execution.task_id,
        agent_id: execution.agent_id,
        agent_name: execution.agent_name.clone(),
        revision: execution.revision,
    }
}

/// Says whether an execution holds a slot of its agent.
pub(crate) const fn is_handed_over(execution: &Execution) -> bool {
    matches!(execution.state, ExecutionState::Dispatched | ExecutionState::Running)
}
