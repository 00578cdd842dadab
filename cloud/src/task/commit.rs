//! The one way that an execution changes: step, write if it still is as it was, then act.
//!
//! A write that the store will never take ([`store::Error::may_pass`] is false) is found by halving its batch and left
//! out, told once: it stops nobody else.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use opslink::{id::TaskId, problem::Problem, reason::Reason, task::ExecutionState, time::UnixMicros};

use super::{
    book::{Book, Slot},
    info::TaskInfo,
    intent::Intent,
    life::{handed_over, life_of, with_life},
    machine::{Effect, Event, Life, step},
    outgoing::{Outgoing, Start},
    rollout, verify,
};
use crate::{
    crash::crashpoint,
    signals::{Signal, Signals},
    store::{
        self, Store, Tx,
        record::{Audit, Execution, ExecutionWrite, NewWork},
    },
    work,
};

/// Rounds against writers that were faster; each round somebody made progress, and an execution has few steps.
const ROUNDS_MAX: usize = 16;

struct Stepped {
    life: Life,
    effects: Vec<Effect>,
}

/// Writes changes of executions, and does what follows from them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) store: Store,
    pub(crate) book: Book,
    pub(crate) outgoing: Outgoing,
    pub(crate) signals: Arc<dyn Signals>,
}

impl Commit {
    /// Carries out the intents in one write, and once more for those that were overtaken. Returns what is now there, in
    /// the same order.
    ///
    /// # Errors
    /// What the store says; then nothing of the failed round was done, or, when its answer was lost, it was done and is
    /// found by the next look.
    pub(crate) async fn apply(&self, intents: Vec<Intent>, mut audit: Option<Audit>) -> store::Result<Vec<Execution>> {
        let mut done: Vec<Option<Execution>> = vec![None; intents.len()];
        let mut pending: Vec<(usize, Intent)> = intents.into_iter().enumerate().collect();
        for _ in 0..ROUNDS_MAX {
            let mut writes = Vec::with_capacity(pending.len());
            let mut written = Vec::with_capacity(pending.len());
            for (index, mut intent) in std::mem::take(&mut pending) {
                let before = life_of(&intent.execution);
                let stepped = fold(&before, &intent);
                if stepped.life == before {
                    self.keep_output(&intent).await?;
                    let now_there = intent.execution.clone();
                    self.act(&mut intent, &now_there, &stepped.effects);
                    if let Some(place) = done.get_mut(index) {
                        *place = Some(now_there);
                    }
                    continue;
                }
                let before = (intent.execution.state, intent.execution.attempt_id);
                writes.push(ExecutionWrite {
                    before,
                    after: with_life(&intent.execution, stepped.life),
                    output: intent.output.as_ref().map(|output| output.row.clone()),
                });
                written.push((index, intent, stepped.effects));
            }
            if writes.is_empty() {
                break;
            }
            let work = self.work_of(&writes, &written);
            let mut kinds: Vec<String> = work.iter().map(|work| work.kind.clone()).collect();
            kinds.dedup();
            let results = self.write(writes, audit.clone(), work).await?;
            if audit.is_some() {
                // Of all that come here, only a retry has a row.
                crashpoint!("task.retry_written");
            }
            if written.iter().any(|(_, _, effects)| tells_of_an_end(effects)) {
                crashpoint!("task.end_stored");
            }
            for kind in &kinds {
                self.signals.send(Signal::WorkDue(kind));
            }
            if results.iter().any(|(applied, _)| *applied) {
                // The row went with the first change; a round that changed nothing has not written it.
                audit = None;
            }
            for ((index, mut intent, effects), (applied, now_there)) in written.into_iter().zip(results) {
                if !applied {
                    // Whoever changed it may be this very write, whose answer was lost.
                    self.signals.send(Signal::ExecutionChanged(&now_there));
                    self.correct(&intent, &now_there);
                    intent.execution = now_there;
                    pending.push((index, intent));
                    continue;
                }
                if let Some(output) = intent.output.take() {
                    self.signals.send(Signal::OutputAppended(intent.info.id, &output.live));
                }
                self.signals.send(Signal::ExecutionChanged(&now_there));
                self.book.left_alone().written(&now_there);
                let is_wished_meanwhile = now_there.cancel_requested && !intent.execution.cancel_requested;
                self.act(&mut intent, &now_there, &effects);
                if let Some(attempt) = handed_over(&now_there).filter(|_| is_wished_meanwhile) {
                    // Whoever wished it looked before this write, and may not have seen what it handed over.
                    self.outgoing.cancel(now_there.agent_id, attempt);
                }
                if let Some(place) = done.get_mut(index) {
                    *place = Some(now_there);
                }
            }
            if pending.is_empty() {
                break;
            }
        }
        for (index, intent) in pending {
            tracing::error!(task_id = %intent.info.id, "an execution changed under every attempt to change it");
            if let Some(place) = done.get_mut(index) {
                *place = Some(intent.execution);
            }
        }
        Ok(done.into_iter().flatten().collect())
    }

    /// The changes and the work that they make necessary, in one transaction. Most changes make none.
    async fn write(
        &self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
        work: Vec<NewWork>,
    ) -> store::Result<Vec<(bool, Execution)>> {
        if work.is_empty() {
            return self.store.execution_apply(writes, audit).await;
        }
        self.store.write((writes, audit, work), apply_with_work).await
    }

    /// Rollouts that may go on, and outputs that are to be compared: those of one kind stand together.
    fn work_of(&self, writes: &[ExecutionWrite], written: &[(usize, Intent, Vec<Effect>)]) -> Vec<NewWork> {
        let now = UnixMicros::now();
        let mut work = Vec::new();
        for (ExecutionWrite { before, after, .. }, (_, intent, effects)) in writes.iter().zip(written) {
            let is_retried = before.0.is_terminal() && !after.state.is_terminal();
            if intent.info.has_rollout() && (is_retried || effects.contains(&Effect::Finished)) {
                work.push(work::row(rollout::KIND, after.task_id, now));
            }
            if let Some(attempt) = verify::is_due(before.0, after) {
                work.push(work::row(verify::KIND, attempt, now));
            }
        }
        work.sort_unstable();
        work.dedup();
        work
    }

    /// Carries out what nobody waits for. Tries again for as long as the store is away (the caller paces that), and
    /// leaves out, once and for all, what the store cannot take.
    ///
    /// # Errors
    /// Only those that may pass. Nothing is lost then: the intents come back.
    pub(crate) async fn apply_each(&self, intents: Vec<Intent>) -> Result<(), (store::Error, Vec<Intent>)> {
        let mut parts = vec![intents];
        while let Some(mut part) = parts.pop() {
            let copies = part.iter_mut().map(Intent::copy).collect();
            match self.apply(copies, None).await {
                Ok(_) => {}
                Err(error) if error.may_pass() => {
                    part.extend(parts.into_iter().flatten());
                    return Err((error, part));
                }
                Err(error) => {
                    if part.len() > 1 {
                        let half = part.split_off(part.len() / 2);
                        parts.push(half);
                        parts.push(part);
                    } else if let Some(intent) = part.pop() {
                        self.leave_out(&intent, &error).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// What follows from a wish to cancel that is durable. Never waits.
    pub(crate) fn cancelled(&self, info: &Arc<TaskInfo>, before: Execution, now_there: Execution) {
        let attempt = handed_over(&now_there);
        let effects: Vec<_> = attempt.map(Effect::SendCancel).into_iter().collect();
        self.signals.send(Signal::ExecutionChanged(&now_there));
        self.book.left_alone().written(&now_there);
        self.act(&mut Intent::new(before, info.clone(), Vec::new()), &now_there, &effects);
    }

    /// What follows from the creation of an execution that is durable. Never waits.
    pub(crate) fn placed(&self, info: &Arc<TaskInfo>, execution: Execution, slot: Option<Slot>) {
        let send = handed_over(&execution).map(Effect::Send);
        let effects: Vec<_> = send.into_iter().collect();
        let now_there = execution.clone();
        let mut intent = Intent::new(execution, info.clone(), Vec::new()).with_slot(slot);
        self.act(&mut intent, &now_there, &effects);
    }

    /// The same events for many executions, with what they need looked up.
    ///
    /// # Errors
    /// Only those that may pass: what cannot be changed is left out and told.
    pub(crate) async fn change_all(
        &self,
        executions: Vec<Execution>,
        events: impl Fn(&Execution) -> Vec<Event>,
    ) -> store::Result<()> {
        let now = UnixMicros::now();
        let mut rest = executions;
        while let Some((infos, part)) = self.next_part(&mut rest).await? {
            let intents = part.into_iter().filter_map(|execution| {
                let info = infos.get(&execution.task_id)?.clone();
                let events = events(&execution).into_iter().map(|event| (event, now)).collect();
                Some(Intent::new(execution, info, events))
            });
            self.apply_each(intents.collect()).await.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Takes executions from `rest` whose tasks fit into memory at the same time: a thousand may wait, each with a script
    /// of its own. Absent when none is left.
    ///
    /// # Errors
    /// What the store says, if it may pass.
    pub(crate) async fn next_part(&self, rest: &mut Vec<Execution>) -> store::Result<Option<Part>> {
        if rest.is_empty() {
            return Ok(None);
        }
        let tasks = rest.iter().map(|execution| execution.task_id);
        let infos = self.book.infos().get_some(&self.store, tasks).await?;
        let (part, left) = std::mem::take(rest)
            .into_iter()
            .partition(|execution| infos.contains_key(&execution.task_id));
        *rest = left;
        Ok(Some((infos, part)))
    }

    /// What executions share, from memory or from the store.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn info(&self, task: TaskId) -> store::Result<Arc<TaskInfo>> {
        self.book.infos().get(&self.store, task).await
    }

    /// Forgets an execution that the store does not take (it has lost it, or cannot read it), and tells it once.
    async fn leave_out(&self, intent: &Intent, error: &store::Error) {
        let Execution {
            task_id,
            agent_id,
            attempt_id,
            ..
        } = intent.execution;
        let events: Vec<_> = intent.events.iter().map(|(event, _)| event.name()).collect();
        if let Some(attempt) = attempt_id {
            self.book.forget(agent_id, attempt);
            // Only of what the store does not have does the agent's next Hello say anything new.
            if matches!(error, store::Error::NotFound { .. }) {
                let why = Problem::new(Reason::AttemptNotFound).with("attempt", attempt);
                self.outgoing.ask_anew(agent_id, why);
            }
        }
        if !self.book.left_alone().note(&intent.execution) {
            tracing::debug!(%task_id, %agent_id, %error, ?events, "an execution is still left alone");
            return;
        }
        tracing::error!(%task_id, %agent_id, %error, ?events, "an execution is left alone: the store does not take its change");
        let audit = Audit::system(
            "execution.left_alone",
            format!("task/{task_id}"),
            format!("agent {agent_id}: {error}"),
        );
        if let Err(error) = self.store.audit_insert(audit).await {
            tracing::warn!(%task_id, %error, "the audit row of an execution that is left alone was not stored");
        }
    }

    /// Stores the output of an attempt whose end changes nothing: it may have come before, and then this does nothing.
    async fn keep_output(&self, intent: &Intent) -> store::Result<()> {
        let Some(output) = &intent.output else { return Ok(()) };
        let appended = self.store.chunk_append(vec![output.row.clone()]).await?;
        // Also when it was there already: the answer of its commit may have been lost before it was shown.
        if appended
            .first()
            .is_some_and(|appended| appended.next_seq >= output.row.next_seq())
        {
            self.signals.send(Signal::OutputAppended(intent.info.id, &output.live));
        }
        Ok(())
    }

    /// Lets go of an attempt that the store does not have at work: somebody else ended it, or the store was set back.
    fn correct(&self, intent: &Intent, now_there: &Execution) {
        let (was, is) = (handed_over(&intent.execution), handed_over(now_there));
        if let Some(attempt) = was.filter(|_| was != is) {
            self.book.forget(now_there.agent_id, attempt);
        }
    }

    /// What follows from something that is durable. Never waits.
    fn act(&self, intent: &mut Intent, execution: &Execution, effects: &[Effect]) {
        let agent = execution.agent_id;
        self.correct(intent, execution);
        if let Some(attempt) = handed_over(execution) {
            self.book.keep(&intent.info, attempt, execution);
            if intent.slot.as_ref().is_some_and(|slot| slot.attempt() == attempt) {
                intent.slot.take().into_iter().for_each(Slot::keep);
            }
        }
        // One that was taken for nothing.
        intent.slot = None;
        let number = execution.attempt_number;
        for effect in effects {
            match *effect {
                Effect::Send(attempt) => {
                    let start = execution.queue_deadline.map_or(Start::InTime, Start::Before);
                    self.outgoing.task(&intent.info, (agent, attempt, number), start);
                }
                Effect::Ask(attempt) => self.outgoing.task(&intent.info, (agent, attempt, number), Start::Never),
                Effect::SendCancel(attempt) => self.outgoing.cancel(agent, attempt),
                Effect::Archive(attempt) => self.outgoing.archived(agent, attempt, intent.next_seq),
                // Its slot is free, see `correct`; its rollout has a row of work.
                Effect::Finished => {}
            }
        }
        if execution.state == ExecutionState::Queued {
            // Its agent may have come between the look and the commit. The mark is for the sweep: a signal may be lost.
            self.book.set_backlog(agent, true);
            self.signals.send(Signal::WakeAgent(agent));
        }
    }
}

/// Executions with what they share.
type Part = (BTreeMap<TaskId, Arc<TaskInfo>>, Vec<Execution>);
type Input = (Vec<ExecutionWrite>, Option<Audit>, Vec<NewWork>);

fn tells_of_an_end(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Archive(_)))
}

fn apply_with_work<'a>(tx: &'a Tx, input: &'a Input) -> BoxFuture<'a, store::Result<Vec<(bool, Execution)>>> {
    let (writes, audit, work) = input;
    Box::pin(async move {
        let results = tx.execution_apply(writes, audit).await?;
        tx.work_add(work).await?;
        Ok(results)
    })
}

fn fold(before: &Life, intent: &Intent) -> Stepped {
    let mut stepped = Stepped {
        life: before.clone(),
        effects: Vec::new(),
    };
    for (event, at) in &intent.events {
        match step(&stepped.life, event, *at) {
            Ok((life, effects)) => {
                if life.state.is_terminal() && !stepped.life.state.is_terminal() {
                    // What was to be sent before an end needs no sending any more; what the end itself sends does.
                    stepped.effects.retain(|effect| !is_about_work(effect));
                }
                stepped.life = life;
                stepped.effects.extend(effects);
            }
            Err(illegal) => tracing::debug!(task_id = %intent.info.id, %illegal, "an event came too late"),
        }
    }
    stepped
}

/// Says whether an effect tells the agent about work that it has to do.
const fn is_about_work(effect: &Effect) -> bool {
    match effect {
        Effect::Send(_) | Effect::Ask(_) | Effect::SendCancel(_) => true,
        Effect::Archive(_) | Effect::Finished => false,
    }
}
