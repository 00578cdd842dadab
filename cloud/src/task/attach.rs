//! An agent comes (back): what it knows and what the store knows are made one, before anything new is sent.
//!
//! Order matters. The link is admitted first and the store is read then: a task that is created meanwhile either sees
//! the link, or is in what is read, or looks for the link once more after its commit. Frames wait for the Welcome, so
//! nothing that is sent here can be answered before the reconciliation is through.

use std::collections::{BTreeMap, HashMap};

use opslink::{
    id::{AgentId, AttemptId},
    pb,
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};
use prost::Message;
use tokio::sync::mpsc;

use super::{
    Engine,
    commit::{Intent, is_handed_over},
    events::Note,
    machine::Event,
};
use crate::{
    link::{Arrival, Greeting, Report, Verdict},
    service::status::store_problem as problem,
    store::{
        self,
        record::{Audit, Execution},
    },
};

/// Takes reports until the engine stops.
pub(super) async fn run(engine: Engine, mut reports: mpsc::Receiver<Report>) {
    while let Some(report) = reports.recv().await {
        match report {
            Report::Arrived(arrival) => {
                let greeter = engine.clone();
                // Ends with its answer; the store bounds how long that takes, the link waits 30 s at most.
                engine.spawn(async move {
                    let Ok(_permit) = greeter.gate.clone().acquire_owned().await else {
                        return;
                    };
                    greeter.greet(arrival).await;
                });
            }
            Report::Accepted(agent, accepted) => match accepted.attempt_id.parse() {
                Ok(attempt) => engine.note(Note::accepted(agent, attempt)).await,
                Err(error) => tracing::warn!(agent_id = %agent, %error, "agent accepted nothing"),
            },
            Report::Refused(agent, refused) => match refused.attempt_id.parse() {
                Ok(attempt) => {
                    engine
                        .note(Note::refused(agent, attempt, refused.reason, refused.message))
                        .await
                }
                Err(error) => tracing::warn!(agent_id = %agent, %error, "agent refused nothing"),
            },
            Report::Facts(agent, facts) => {
                if let Some(view) = engine.directory.get(agent) {
                    let facts = facts.encode_to_vec().into();
                    engine.directory.upsert(store::record::Agent {
                        facts,
                        ..(*view.agent).clone()
                    });
                }
            }
            Report::Gone(agent) => engine.sync_online(agent),
        }
    }
}

impl Engine {
    /// Says to the directory what the links say. Called after every change of the links, so that the last word is right.
    fn sync_online(&self, agent: AgentId) {
        // Only these two lines read the one and write the other; the loop ends when nothing changed in between.
        loop {
            let live = self.links.is_live(agent);
            self.directory.set_online(agent, live);
            if self.links.is_live(agent) == live {
                return;
            }
        }
    }

    async fn greet(&self, arrival: Arrival) {
        let agent = arrival.agent_id;
        if let Err(problem) = self.refuse_copies(&arrival).await {
            arrival.answer(Err(problem));
            return self.sync_online(agent);
        }
        match self.reconcile(&arrival).await {
            Ok(greeting) => {
                tracing::info!(agent_id = %agent, peer = arrival.peer, epoch = greeting.session_epoch, "agent is here");
                arrival.answer(Ok(greeting));
            }
            Err(error) => {
                tracing::warn!(agent_id = %agent, %error, "an agent could not be greeted");
                arrival.answer(Err(problem(error)));
            }
        }
        self.sync_online(agent);
    }

    /// Keeps out an agent whose state folder was copied: both of it, since nobody here can tell which is the right one.
    async fn refuse_copies(&self, arrival: &Arrival) -> Result<(), Problem> {
        let agent = arrival.agent_id;
        let verdict = self.links.verdict(arrival, UnixMicros::now());
        if verdict == Verdict::Single {
            return Ok(());
        }
        let cloned = || Problem::new(Reason::AgentCloned);
        self.links.disconnect(agent, cloned());
        if verdict == Verdict::FoundTwo {
            tracing::error!(agent_id = %agent, peer = arrival.peer, "two processes use one agent's identity; both are kept out");
            let audit = Audit {
                time: UnixMicros::now(),
                actor: "system".to_owned(),
                actor_role: None,
                action: "agent.quarantine",
                resource: format!("agent/{agent}"),
                detail: "two processes use this identity at the same time".to_owned(),
                peer: arrival.peer.clone(),
            };
            // Without the row both stay out all the same.
            if let Err(error) = self.store.audit_insert(audit).await {
                tracing::warn!(agent_id = %agent, %error, "the audit row of a quarantine was not stored");
            }
        }
        Err(cloned())
    }

    async fn reconcile(&self, arrival: &Arrival) -> store::Result<Greeting> {
        let agent = arrival.agent_id;
        let hello = &arrival.hello;
        let facts: bytes::Bytes = hello.facts.clone().unwrap_or_default().encode_to_vec().into();
        let connections: Vec<_> = hello
            .connections
            .iter()
            .map(|c| (c.name.clone(), c.kind.clone(), c.is_default))
            .collect();
        let now = UnixMicros::now();
        let epoch = self
            .store
            .agent_attach(agent, facts.clone(), connections.clone(), now)
            .await?;
        if let Some(view) = self.directory.get(agent) {
            let stored = (*view.agent).clone();
            let last_seen_at = Some(now);
            self.directory.upsert(store::record::Agent {
                facts,
                connections,
                session_epoch: epoch,
                last_seen_at,
                ..stored
            });
        }
        self.links.admit(arrival, epoch);
        self.sync_online(agent);

        let reported: BTreeMap<AttemptId, &pb::AttemptReport> = hello
            .attempts
            .iter()
            .filter_map(|report| Some((report.attempt_id.parse().ok()?, report)))
            .collect();
        let open = self.store.execution_open(agent).await?;
        let open = self.settle(open, &reported).await?;
        let attempts = self.wanted(agent, &open, &reported).await?;
        Ok(Greeting {
            session_epoch: epoch,
            attempts,
        })
    }

    /// Adopts what runs, sends again what never arrived, gives up what is lost, and hands out the queue.
    async fn settle(
        &self,
        open: Vec<Execution>,
        reported: &BTreeMap<AttemptId, &pb::AttemptReport>,
    ) -> store::Result<Vec<Execution>> {
        let now = UnixMicros::now();
        let infos = self.infos(open.iter().map(|execution| execution.task_id)).await?;
        // First those that hold a slot, then those that want one.
        for execution in open.iter().filter(|execution| is_handed_over(execution)) {
            if let Some(attempt) = execution.attempt_id {
                self.book.hold_slot(execution.agent_id, attempt);
            }
        }
        let mut intents = Vec::with_capacity(open.len());
        for execution in open {
            let Some(info) = infos.get(&execution.task_id).cloned() else {
                continue;
            };
            let event = match (execution.state, execution.attempt_id) {
                (ExecutionState::Queued, _) => self.reserve(&execution),
                (ExecutionState::Dispatched | ExecutionState::Running, Some(attempt)) => {
                    Some(if reported.contains_key(&attempt) {
                        Event::Accepted { attempt }
                    } else {
                        Event::Missing { attempt }
                    })
                }
                _ => None,
            };
            let events = event.into_iter().map(|event| (event, now)).collect();
            intents.push(Intent::new(execution, info, events));
        }
        self.commit_dispatches(intents, None).await
    }

    /// What the cloud says about each reported attempt.
    async fn wanted(
        &self,
        agent: AgentId,
        open: &[Execution],
        reported: &BTreeMap<AttemptId, &pb::AttemptReport>,
    ) -> store::Result<Vec<pb::AttemptWanted>> {
        let open: HashMap<AttemptId, &Execution> = open
            .iter()
            .filter_map(|execution| Some((execution.attempt_id?, execution)))
            .collect();
        let ids: Vec<AttemptId> = reported.keys().copied().collect();
        let next_seqs = self.store.chunk_next_seq(&ids).await?;
        let mut wanted = Vec::with_capacity(ids.len());
        for (attempt, next_seq) in ids.into_iter().zip(next_seqs) {
            let Some(report) = reported.get(&attempt) else { continue };
            if next_seq > 0 {
                self.book.note_output(attempt);
            }
            let has_all = report.phase() == pb::AttemptPhase::Ended && next_seq >= report.next_seq;
            let mut answer = pb::AttemptWanted {
                attempt_id: attempt.to_string(),
                next_seq,
                archived: false,
                cancel: false,
            };
            if let Some(execution) = open.get(&attempt).filter(|execution| !execution.state.is_terminal()) {
                answer.cancel = execution.cancel_requested;
                if has_all {
                    // The output was stored, and the cloud ended before it wrote the state.
                    self.end_from_store(agent, attempt, next_seq).await?;
                }
            } else {
                let owner = self
                    .store
                    .execution_by_attempt(attempt)
                    .await?
                    .map(|execution| execution.agent_id);
                let ended = report.phase() == pb::AttemptPhase::Ended;
                if owner == Some(agent) {
                    // It has its end here already: the rest of its output is welcome, the work is not.
                    answer.archived = has_all;
                    answer.cancel = !ended;
                } else {
                    // Never heard of, or another agent's, which is none of this agent's business: same answer.
                    answer.next_seq = report.next_seq;
                    answer.archived = true;
                    answer.cancel = !ended;
                }
            }
            wanted.push(answer);
        }
        Ok(wanted)
    }

    async fn end_from_store(&self, agent: AgentId, attempt: AttemptId, next_seq: u64) -> store::Result<()> {
        let last = self.store.chunk_index(attempt, next_seq.saturating_sub(1), 1).await?;
        if let Some(outcome) = last.into_iter().next().and_then(|chunk| chunk.outcome) {
            self.note(Note::ended(agent, attempt, outcome, false, next_seq)).await;
        }
        Ok(())
    }
}
