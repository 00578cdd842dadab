//! An agent comes (back): what it knows and what the store knows are made one, before anything new is sent.
//!
//! Order matters. The link is admitted first and the store is read then: a task that is created meanwhile either sees
//! the link, or is in what is read, or looks for the link once more after its commit. Frames wait for the Welcome, so
//! nothing that is sent here can be answered before the reconciliation is through.
//!
//! One greeting of an agent at a time, and none for a Hello that is older than one that was greeted: what an agent
//! knew at an earlier time says nothing about what it was given since.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use opslink::{
    id::{AgentId, AttemptId},
    pb,
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};
use prost::Message;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    commit::Commit,
    heard::{self, Heard, Hearing},
    info::{START_TTL, TaskInfo},
    life::handed_over,
    machine::Event,
    presence::{LEASE, Presence},
    reachable::Reachable,
    spawn_until,
};
use crate::{
    agents::Directory,
    link::{Arrival, Greeting, Links, Report, Verdict, is_started},
    signals::Signal,
    status::store_problem as problem,
    store::{
        self,
        record::{AgentAttach, Audit, Execution, Quarantine},
    },
};

/// Greets agents, and passes on what they say. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attach {
    pub(super) commit: Commit,
    pub(super) hearing: Hearing,
    pub(super) directory: Directory,
    pub(super) links: Links,
    /// Agents that are greeted at the same time.
    pub(super) gate: Arc<Semaphore>,
    pub(super) turns: Arc<DashMap<AgentId, Arc<Turn>>>,
    pub(super) presence: Presence,
    pub(super) reachable: Reachable,
    pub(super) stop: CancellationToken,
}

/// Executions that are read at once.
const PAGE: u32 = 500;

/// Whose turn it is to be greeted, per agent.
#[derive(Debug, Default)]
pub(super) struct Turn {
    one: Mutex<()>,
    /// One more than the number of the newest Hello that was greeted.
    greeted: AtomicU64,
}

impl Attach {
    /// Takes reports until the engine stops.
    pub(super) async fn run(self, mut reports: mpsc::Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            match report {
                Report::Arrived(arrival) => {
                    let greeter = self.clone();
                    // Ends with its answer; the store bounds how long that takes, the link waits 30 s at most.
                    spawn_until(&self.stop, async move { greeter.greet_in_turn(*arrival).await });
                }
                Report::Accepted {
                    agent,
                    epoch,
                    attempt,
                    started,
                } => self.hearing.take(Heard::accepted(agent, epoch, attempt, started)).await,
                Report::Refused {
                    agent,
                    epoch,
                    attempt,
                    reason,
                    message,
                } => {
                    let heard = Heard::refused(agent, epoch, attempt, reason, message);
                    self.hearing.take(heard).await;
                }
                Report::Facts(agent, facts) => {
                    self.directory.change(agent, |agent| agent.facts = facts);
                }
                Report::Gone(agent, epoch) => {
                    self.sync_online(agent);
                    self.presence.end(agent, epoch);
                }
            }
        }
    }

    /// Forgets the turns of agents that are no more.
    pub(super) fn sweep(&self) {
        let directory = &self.directory;
        self.turns.retain(|agent, _| directory.get(*agent).is_some());
    }

    /// Says to the directory what the links say. Called after every change of the links, so that the last word is right.
    fn sync_online(&self, agent: AgentId) {
        // Only these two lines read the one and write the other; the loop ends when nothing changed in between.
        loop {
            let here = self.presence.is_here(agent);
            self.directory.set_online(agent, here);
            if self.presence.is_here(agent) == here {
                return;
            }
        }
    }

    async fn greet_in_turn(&self, arrival: Arrival) {
        let turn = self.turns.entry(arrival.agent_id).or_default().value().clone();
        // First the turn and then the permit: an agent that comes often waits for itself only.
        let _turn = turn.one.lock().await;
        if arrival.is_over() || arrival.number < turn.greeted.load(Ordering::Relaxed) {
            return arrival.answer(Err(Problem::new(Reason::LinkSuperseded)));
        }
        let Ok(_permit) = self.gate.clone().acquire_owned().await else {
            return;
        };
        turn.greeted.store(arrival.number + 1, Ordering::Relaxed);
        self.greet(arrival).await;
    }

    async fn greet(&self, arrival: Arrival) {
        let agent = arrival.agent_id;
        if let Err(problem) = self.refuse_copies(&arrival).await {
            arrival.answer(Err(problem));
            return self.sync_online(agent);
        }
        match self.reconcile(&arrival).await {
            Ok(greeting) if self.directory.get(agent).is_some() => {
                tracing::info!(agent_id = %agent, peer = arrival.peer, epoch = greeting.session_epoch, "agent is here");
                arrival.answer(Ok(greeting));
                self.reachable.let_in(agent);
                // What waits for it. The mark is for the sweep: a signal may be lost.
                self.commit.book.set_backlog(agent, true);
                self.commit.signals.send(Signal::WakeAgent(agent));
            }
            // Removed meanwhile. Whoever removed it looked for a link before this one was admitted, or ends it too.
            Ok(_) => {
                self.reachable.let_in(agent);
                self.links.disconnect(agent, Problem::new(Reason::CertificateRevoked));
                arrival.answer(Err(Problem::new(Reason::CertificateRevoked)));
            }
            Err(error) => {
                // Also when it will never be: it dials, so it is not what is away.
                self.reachable.not_let_in(agent);
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
            let detail = "two processes use this identity at the same time".to_owned();
            let audit = Audit {
                peer: arrival.peer.clone(),
                ..Audit::system("agent.quarantine", format!("agent/{agent}"), detail)
            };
            // Without the row both stay out all the same, until the cloud is restarted.
            let kept_out = Quarantine::of_copies(agent, UnixMicros::now());
            if let Err(error) = self.commit.store.quarantine_put(kept_out, audit).await {
                tracing::warn!(agent_id = %agent, %error, "a quarantine was not stored");
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
        let was_away = self.was_away(agent, now);
        let store = &self.commit.store;
        let epoch = store
            .agent_attach(AgentAttach {
                id: agent,
                facts: facts.clone(),
                connections: connections.clone(),
                time: now,
                replica: self.presence.replica().to_owned(),
                lease_until: now.plus(LEASE),
            })
            .await?;
        self.directory.change(agent, |agent| {
            agent.facts = facts;
            agent.connections = connections;
            agent.session_epoch = epoch;
            agent.last_seen_at = Some(now);
        });
        self.links.admit(arrival, epoch);
        self.sync_online(agent);
        if arrival.is_over() {
            // It went while the store was asked, and nobody reports the end of a link that never was up.
            self.presence.end(agent, epoch);
        }

        let reported: BTreeMap<AttemptId, &pb::AttemptReport> = hello
            .attempts
            .iter()
            .filter_map(|report| Some((report.attempt_id.parse().ok()?, report)))
            .collect();
        self.settle(agent, &reported).await?;
        if was_away {
            self.end_unasked(agent, now).await?;
        }
        let open = store.execution_handed_over(agent).await?;
        let attempts = self.wanted(agent, &open, &reported).await?;
        Ok(Greeting {
            session_epoch: epoch,
            attempts,
        })
    }

    /// Says whether the agent has been away for longer than a task may take that does not wait for agents. While it could
    /// not come, it was the cloud that was away.
    fn was_away(&self, agent: AgentId, now: UnixMicros) -> bool {
        let last_seen = self.directory.get(agent).and_then(|view| view.last_seen_at);
        self.reachable.all_could_come()
            && !self.presence.is_here(agent)
            && last_seen.is_some_and(|last| now.since(last) > START_TTL)
    }

    /// Adopts what runs, sends again what never arrived, gives up what is lost.
    async fn settle(&self, agent: AgentId, reported: &BTreeMap<AttemptId, &pb::AttemptReport>) -> store::Result<()> {
        let active = self.commit.book.active(agent);
        let open = self.commit.store.execution_handed_over(agent).await?;
        self.commit.book.forget_ended(agent, active, &open);
        let event = |execution: &Execution| {
            let attempt = handed_over(execution)?;
            self.commit.book.hold_slot(execution.agent_id, attempt);
            Some(match reported.get(&attempt) {
                Some(report) => Event::Accepted {
                    attempt,
                    started: is_started(report.phase()),
                },
                None => Event::Missing { attempt },
            })
        };
        let events = |execution: &Execution| event(execution).into_iter().collect();
        self.commit.change_all(open, events).await
    }

    /// Ends what waited for an agent that was away until `came_back` without having been asked to wait for it.
    async fn end_unasked(&self, agent: AgentId, came_back: UnixMicros) -> store::Result<()> {
        let mut after = None;
        loop {
            let open = self.commit.store.execution_open_page(agent, after, PAGE).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = Some(last.task_id);
            let mut rest = open;
            while let Some((infos, part)) = self.commit.next_part(&mut rest).await? {
                let unasked = |execution: &Execution| {
                    let info = infos.get(&execution.task_id);
                    info.is_some_and(|info| waited_unasked(execution, info, came_back))
                };
                let waited = part.into_iter().filter(unasked).collect();
                self.commit.change_all(waited, |_| vec![Event::AgentAbsent]).await?;
            }
        }
    }

    /// What the cloud says about each reported attempt. One whose execution cannot be read goes on: nobody knows whose
    /// it is. So does one whose stored output cannot be read, until what it sends next was refused a few times.
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
        let store = &self.commit.store;
        let refusals = self.commit.book.refusals();
        let ids = || reported.keys().copied();
        let next_seqs = heard::next_seqs(store, ids().filter(|id| !refusals.has_given_up(*id)).collect()).await?;
        let ended = heard::stored(store, ids().filter(|id| !open.contains_key(id)).collect()).await?;
        let mut wanted = Vec::with_capacity(reported.len());
        for (attempt, report) in reported {
            let attempt = *attempt;
            let is_unreadable = next_seqs.unreadable.contains(&attempt);
            let next_seq = match report.phase() {
                // Its end has come already, and is asked for once more.
                pb::AttemptPhase::Ended if is_unreadable => report.next_seq.saturating_sub(1),
                _ if is_unreadable => report.next_seq,
                _ => next_seqs.known.get(&attempt).copied().unwrap_or(0),
            };
            if next_seq > 0 || is_unreadable {
                self.commit.book.note_output(attempt);
            }
            let has_ended = report.phase() == pb::AttemptPhase::Ended;
            let is_all_here = next_seq >= report.next_seq;
            let mut answer = pb::AttemptWanted {
                attempt_id: attempt.to_string(),
                next_seq,
                archived: false,
                cancel: false,
            };
            if refusals.has_given_up(attempt) {
                answer.next_seq = report.next_seq;
                answer.archived = true;
                answer.cancel = !has_ended;
            } else if let Some(execution) = open.get(&attempt).filter(|execution| !execution.state.is_terminal()) {
                answer.cancel = execution.cancel_requested;
                // The output was stored, and the cloud ended before it wrote the state. Its runner may have to say so yet.
                let may_have_end = is_all_here && (has_ended || next_seq > 0 && !is_unreadable);
                if may_have_end && !self.end_from_store(agent, attempt, next_seq).await? && has_ended {
                    // The agent has the end too.
                    answer.next_seq = next_seq.saturating_sub(1);
                }
            } else if !ended.unreadable.contains(&attempt) {
                let owner = ended.executions.get(&attempt).map(|execution| execution.agent_id);
                if owner == Some(agent) {
                    // It has its end here already: the rest of its output is welcome, the work is not.
                    answer.archived = has_ended && is_all_here;
                    answer.cancel = !has_ended;
                } else {
                    // Never heard of, or another agent's, which is none of this agent's business: same answer.
                    answer.next_seq = report.next_seq;
                    answer.archived = true;
                    answer.cancel = !has_ended;
                }
            }
            wanted.push(answer);
        }
        Ok(wanted)
    }

    /// Ends an attempt with its stored end; false when that is not there, or cannot be read.
    async fn end_from_store(&self, agent: AgentId, attempt: AttemptId, next_seq: u64) -> store::Result<bool> {
        let last = next_seq.saturating_sub(1);
        let last = match self.commit.store.chunk_index(attempt, last, 1).await {
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => {
                tracing::error!(attempt_id = %attempt, %error, "the stored end of an attempt cannot be read");
                return Ok(false);
            }
            Ok(chunks) => chunks,
        };
        let Some(outcome) = last.into_iter().next().and_then(|chunk| chunk.outcome) else {
            return Ok(false);
        };
        let ended = Heard::ended(agent, attempt, outcome, false, next_seq);
        self.hearing.take(ended).await;
        Ok(true)
    }
}

/// Queued before the agent came back at `time`, by somebody who did not want to wait for an absent agent.
fn waited_unasked(execution: &Execution, info: &TaskInfo, time: UnixMicros) -> bool {
    let queued_before = execution
        .queue_deadline
        .is_some_and(|deadline| deadline <= time.plus(info.queue_ttl));
    execution.state == ExecutionState::Queued && !info.queueing && queued_before
}
