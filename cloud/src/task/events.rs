//! What agents say about attempts, applied in groups: everything that is queued becomes one write.
//!
//! A mere 'accepted' is in no hurry and lingers for a moment: a short task's end then comes in the same write.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use opslink::{
    id::{AgentId, AttemptId},
    problem::Problem,
    reason::Reason,
    task::Outcome,
    time::UnixMicros,
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Engine,
    commit::{Intent, WholeOutput},
    machine::Event,
};
use crate::store;

/// Notes that may wait; a full queue is felt by ingest and so by the agents.
pub(super) const QUEUE_MAX: usize = 8_192;
/// Notes that go into one write.
const BATCH_MAX: usize = 2_048;
/// How long a write of nothing but 'accepted' waits for company: a few times what `true` takes from start to end.
const LINGER: Duration = Duration::from_millis(4);
/// Between two tries of a write.
const RETRY: Duration = Duration::from_millis(200);

/// Something that an agent said about an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    agent: AgentId,
    attempt: AttemptId,
    event: Event,
    at: UnixMicros,
    next_seq: u64,
    output: Option<WholeOutput>,
}

impl Note {
    fn new(agent: AgentId, attempt: AttemptId, event: Event) -> Self {
        Self {
            agent,
            attempt,
            event,
            at: UnixMicros::now(),
            next_seq: 0,
            output: None,
        }
    }

    pub(crate) fn accepted(agent: AgentId, attempt: AttemptId) -> Self {
        Self::new(agent, attempt, Event::Accepted { attempt })
    }

    pub(crate) fn refused(agent: AgentId, attempt: AttemptId, reason: String, message: String) -> Self {
        Self::new(
            agent,
            attempt,
            Event::Refused {
                attempt,
                reason,
                message,
            },
        )
    }

    pub(crate) fn ended(agent: AgentId, attempt: AttemptId, outcome: Outcome, verified: bool, next_seq: u64) -> Self {
        Self {
            next_seq,
            ..Self::new(
                agent,
                attempt,
                Event::Ended {
                    attempt,
                    outcome,
                    verified,
                },
            )
        }
    }

    /// The same with all output of the attempt, which is stored with its end.
    pub(crate) fn with_output(self, output: WholeOutput) -> Self {
        Self {
            output: Some(output),
            ..self
        }
    }

    pub(crate) fn verified(agent: AgentId, attempt: AttemptId) -> Self {
        Self::new(agent, attempt, Event::Verified { attempt })
    }

    const fn may_linger(&self) -> bool {
        matches!(self.event, Event::Accepted { .. } | Event::Verified { .. })
    }
}

impl Engine {
    /// Queues a note; waits while the queue is full.
    pub(crate) async fn note(&self, note: Note) {
        // An error means that the engine stops: the agents will say it again to the next one.
        let _ = self.events.send(note).await;
    }
}

/// Applies notes until the engine stops.
pub(super) async fn run(engine: Engine, mut notes: mpsc::Receiver<Note>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if notes.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        if batch.iter().all(Note::may_linger) {
            // Whatever comes first, company or the end of the wait. `recv_many` loses nothing when dropped.
            let room = BATCH_MAX.saturating_sub(batch.len()).max(1);
            let _ = timeout(LINGER, notes.recv_many(&mut batch, room)).await;
        }
        let batch = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_MAX));
        while let Err(error) = apply(&engine, &batch).await {
            tracing::warn!(%error, notes = batch.len(), "what agents said waits for the store");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn apply(engine: &Engine, notes: &[Note]) -> store::Result<()> {
    let mut order: Vec<AttemptId> = Vec::with_capacity(notes.len());
    let mut intents: HashMap<AttemptId, Intent> = HashMap::with_capacity(notes.len());
    for note in notes {
        let intent = match intents.entry(note.attempt) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let Some(intent) = intent(engine, note).await? else {
                    continue;
                };
                order.push(note.attempt);
                place.insert(intent)
            }
        };
        if intent.execution.agent_id != note.agent {
            foreign(engine, note);
            continue;
        }
        intent.next_seq = intent.next_seq.max(note.next_seq);
        if let Some(output) = &note.output {
            intent.output = Some(output.clone());
        }
        intent.events.push((note.event.clone(), note.at));
    }
    let intents = order.iter().filter_map(|attempt| intents.remove(attempt)).collect();
    engine.commit(intents, None).await?;
    Ok(())
}

/// The execution that a note is about; none when the note means nothing any more.
async fn intent(engine: &Engine, note: &Note) -> store::Result<Option<Intent>> {
    if let Some(live) = engine.book.live(note.attempt) {
        return Ok(Some(Intent::new(live.execution, live.info, Vec::new())));
    }
    let Some(execution) = engine.store.execution_by_attempt(note.attempt).await? else {
        tracing::warn!(agent_id = %note.agent, attempt_id = %note.attempt, "agent speaks of an unknown attempt");
        return Ok(None);
    };
    if execution.agent_id != note.agent {
        foreign(engine, note);
        return Ok(None);
    }
    if execution.attempt_id != Some(note.attempt) {
        // An older attempt: nothing changes but its output, and its journal may go when its end is stored.
        if let Some(output) = &note.output {
            engine.store.chunk_append(vec![output.row.clone()]).await?;
        }
        if matches!(note.event, Event::Ended { .. }) {
            engine.links.send_ack(note.agent, note.attempt, note.next_seq, true);
        }
        return Ok(None);
    }
    let info = engine.info(execution.task_id).await?;
    Ok(Some(Intent::new(execution, info, Vec::new())))
}

fn foreign(engine: &Engine, note: &Note) {
    engine.links.disconnect(note.agent, not_yours(note.attempt));
}

/// The answer to an agent that speaks of another agent's attempt.
pub(crate) fn not_yours(attempt: AttemptId) -> Problem {
    Problem::plain(
        Reason::PermissionDenied,
        format!("attempt {attempt} is not one of this agent"),
    )
    .with("role", "agent")
    .with("needed", "the agent of that attempt")
}
