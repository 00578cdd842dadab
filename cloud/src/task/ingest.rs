//! Chunks in: everything that waits becomes one commit, then live readers, then acknowledgements.
//!
//! Order per attempt is kept from link to reader, since one task does all of it. Nothing is acknowledged before it is
//! durable. While the store is away nothing is dropped: the batch is tried again, the queue fills, and the agents feel
//! it and spool. A chunk that the store will never take is found by halving its batch, and ends its agent's link: it
//! stops nobody else. One that comes again and again ends its attempt.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    problem::Problem,
    reason::Reason,
    task::Outcome,
    time::UnixMicros,
};
use tokio::sync::mpsc;

use super::{
    book::Book,
    heard::{self, Heard, Hearing, not_yours},
    intent::WholeOutput,
    verify,
};
use crate::{
    blocking::off_thread,
    crash::crashpoint,
    link::{ChunkReport, Links},
    signals::{Signal, Signals},
    store::{
        self, Store,
        record::{Appended, Chunk, Execution},
    },
    tail::LiveChunk,
};

/// Chunks that go into one commit.
const BATCH_MAX: usize = 1_024;
/// Bytes of chunks after which a commit takes no more: a few milliseconds of disk.
const BATCH_BYTES: usize = 8 << 20;
/// Largest payload that is stored with the attempt's end. What waits in the queue of ends keeps its agent's room.
const SMALL_PAYLOAD: usize = 4 << 10;
/// Between two tries of a commit.
const RETRY: Duration = Duration::from_millis(200);

/// A chunk that may be stored.
struct Incoming {
    report: ChunkReport,
    task_id: TaskId,
    outcome: Option<Outcome>,
}

/// Whose the attempts of a batch are.
struct Owners {
    known: HashMap<AttemptId, (AgentId, TaskId)>,
    /// Those whose executions cannot be read.
    unreadable: BTreeSet<AttemptId>,
}

/// Stores chunks.
pub(crate) struct Ingest {
    pub(crate) store: Store,
    pub(crate) book: Book,
    pub(crate) links: Links,
    pub(crate) hearing: Hearing,
    pub(crate) signals: Arc<dyn Signals>,
}

impl Ingest {
    /// Takes chunks until it is dropped.
    pub(crate) async fn run(self, mut chunks: mpsc::Receiver<ChunkReport>) {
        while let Some(first) = chunks.recv().await {
            let mut bytes = first.size();
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && bytes < BATCH_BYTES
                && let Ok(next) = chunks.try_recv()
            {
                bytes += next.size();
                batch.push(next);
            }
            self.store_batch(batch).await;
        }
    }

    async fn store_batch(&self, batch: Vec<ChunkReport>) {
        let owners = self.owners(&batch).await;
        let mut incoming = Vec::with_capacity(batch.len());
        for report in batch {
            let Some(task_id) = self.task_of(&owners, &report) else {
                continue;
            };
            match report.chunk.outcome.clone().map(Outcome::try_from).transpose() {
                Ok(outcome) => incoming.push(Incoming {
                    report,
                    task_id,
                    outcome,
                }),
                Err(error) => self.refuse(&report, &error.to_string()).await,
            }
        }
        let (whole, incoming): (Vec<_>, Vec<_>) = incoming
            .into_iter()
            .partition(|incoming| self.goes_with_its_end(incoming));
        for incoming in whole {
            self.end_with_output(incoming).await;
        }
        if incoming.is_empty() {
            return;
        }
        let rows: Vec<Chunk> = incoming.iter().map(row).collect();
        // Small ends are compared while the disk is busy.
        let (appended, verified) = tokio::join!(self.append(rows), compare(&incoming));
        for ((incoming, appended), verified) in incoming.into_iter().zip(appended).zip(verified) {
            match appended {
                Ok(appended) => self.settle(incoming, appended, verified).await,
                Err(error) => {
                    let Incoming { report, .. } = &incoming;
                    tracing::error!(attempt_id = %report.attempt_id, %error, "the store does not take a chunk");
                    self.refuse(report, "the store does not take it").await;
                }
            }
        }
    }

    /// Says whether the chunk is all output of its attempt and small: then it is stored with the attempt's end, in the
    /// same write.
    fn goes_with_its_end(&self, incoming: &Incoming) -> bool {
        let chunk = &incoming.report.chunk;
        incoming.outcome.is_some()
            && chunk.first_seq == 0
            && chunk.event_count > 0
            && chunk.payload.len() <= SMALL_PAYLOAD
            && self.book.has_no_output(incoming.report.attempt_id)
    }

    async fn end_with_output(&self, incoming: Incoming) {
        let row = row(&incoming);
        let ChunkReport {
            agent_id,
            attempt_id,
            chunk,
            room,
        } = incoming.report;
        let Some(outcome) = incoming.outcome else { return };
        // Some ten microseconds: less than a trip to another thread.
        let verified = verify::is_whole(&chunk, &outcome);
        let ended = Heard::ended(agent_id, attempt_id, outcome, verified, row.next_seq());
        let live = Arc::new(LiveChunk {
            agent_id,
            attempt_id,
            chunk,
        });
        let whole = ended.with_output(WholeOutput { row, live });
        self.hearing.take(whole.within(room)).await;
    }

    /// Agent and task of the attempts of a batch; those that nobody has are left out.
    async fn owners(&self, batch: &[ChunkReport]) -> Owners {
        let attempts: BTreeSet<AttemptId> = batch.iter().map(|report| report.attempt_id).collect();
        let mut known = HashMap::with_capacity(attempts.len());
        let mut unknown = Vec::new();
        for attempt in attempts {
            match self.book.owner(attempt) {
                Some(owner) => {
                    known.insert(attempt, owner);
                }
                None => unknown.push(attempt),
            }
        }
        // Not at work (any more): rare, so the store is asked, at once for all, however many somebody makes up.
        let stored = loop {
            match heard::stored(&self.store, unknown.clone()).await {
                Ok(stored) => break stored,
                Err(error) => {
                    tracing::warn!(%error, attempts = unknown.len(), "chunks wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        let owner = |(attempt, execution): (AttemptId, Execution)| (attempt, (execution.agent_id, execution.task_id));
        known.extend(stored.executions.into_iter().map(owner));
        Owners {
            known,
            unreadable: stored.unreadable,
        }
    }

    /// The task that a chunk belongs to; none when it must not be stored.
    fn task_of(&self, owners: &Owners, report: &ChunkReport) -> Option<TaskId> {
        match owners.known.get(&report.attempt_id) {
            Some((agent, task)) if *agent == report.agent_id => Some(*task),
            None if owners.unreadable.contains(&report.attempt_id) => {
                // Not acknowledged, so its agent keeps it; what else that has to say goes on.
                self.links.may_repeat(report.agent_id);
                None
            }
            Some(_) | None => {
                self.links.disconnect(report.agent_id, not_yours(report.attempt_id));
                None
            }
        }
    }

    /// Stores all that the store takes; one answer per row.
    async fn append(&self, rows: Vec<Chunk>) -> Vec<store::Result<Appended>> {
        let mut answers = Vec::with_capacity(rows.len());
        let mut parts = vec![rows];
        while let Some(mut part) = parts.pop() {
            match self.store.chunk_append(part.clone()).await {
                Ok(appended) => {
                    crashpoint!("ingest.chunks_stored");
                    answers.extend(appended.into_iter().map(Ok));
                }
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, chunks = part.len(), "output waits for the store");
                    tokio::time::sleep(RETRY).await;
                    parts.push(part);
                }
                Err(_) if part.len() > 1 => {
                    // Its first half is stored first: the order of an attempt's chunks is kept.
                    let half = part.split_off(part.len() / 2);
                    parts.push(half);
                    parts.push(part);
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        answers
    }

    async fn settle(&self, incoming: Incoming, appended: Appended, verified: bool) {
        let Incoming {
            report,
            task_id,
            outcome,
        } = incoming;
        let (agent, attempt) = (report.agent_id, report.attempt_id);
        if !appended.stored && appended.next_seq < report.chunk.first_seq {
            // The Welcome of the next link says where to go on.
            let detail = format!(
                "event {} came, event {} is next",
                report.chunk.first_seq, appended.next_seq
            );
            return self.refuse(&report, &detail).await;
        }
        if !appended.stored && !self.links.may_repeat(agent) {
            return;
        }
        let is_last_stored = appended.next_seq == opslink::chunk::next_seq(&report.chunk);
        self.book.note_output(attempt);
        if appended.stored {
            self.book.refusals().taken(attempt, appended.next_seq);
        }
        if appended.stored || is_last_stored {
            // One that was there already may be one whose commit lost its answer: nobody has shown it then. Readers pass
            // over what they have.
            let live = Arc::new(LiveChunk {
                agent_id: agent,
                attempt_id: attempt,
                chunk: report.chunk,
            });
            self.signals.send(Signal::OutputAppended(task_id, &live));
        }
        match outcome {
            // Acknowledged once the end is stored too. Also when the chunk came again: the end may not have been.
            Some(outcome) if is_last_stored => {
                let ended = Heard::ended(agent, attempt, outcome, verified, appended.next_seq);
                self.hearing.take(ended.within(report.room.of_its_end())).await;
            }
            Some(_) | None => self.links.send_ack(agent, attempt, appended.next_seq, false),
        }
    }

    /// Ends the link: the next one says what is wanted. What is refused each time ends its attempt.
    async fn refuse(&self, report: &ChunkReport, detail: &str) {
        if self
            .book
            .refusals()
            .note(report.agent_id, report.attempt_id, report.chunk.first_seq)
        {
            let refused = Heard::output_refused(report.agent_id, report.attempt_id, detail);
            self.hearing.take(refused).await;
        }
        let problem = Problem::new(Reason::ChunkInvalid)
            .with("attempt", report.attempt_id)
            .with("detail", detail);
        self.links.disconnect(report.agent_id, problem);
    }
}

fn row(incoming: &Incoming) -> Chunk {
    let chunk = &incoming.report.chunk;
    Chunk {
        attempt_id: incoming.report.attempt_id,
        first_seq: chunk.first_seq,
        event_count: chunk.event_count,
        first_line: chunk.first_line,
        line_count: chunk.line_count,
        raw_size: chunk.raw_size,
        first_time: UnixMicros(chunk.first_time_us),
        last_time: UnixMicros(chunk.last_time_us),
        codec: chunk.codec,
        payload: chunk.payload.clone(),
        outcome: incoming.outcome.clone(),
    }
}

/// Compares attempts that are one small chunk with their digests; false for all others.
async fn compare(incoming: &[Incoming]) -> Vec<bool> {
    let whole = |incoming: &Incoming| {
        let chunk = &incoming.report.chunk;
        let small = chunk.first_seq == 0 && chunk.raw_size <= verify::INLINE_RAW_MAX;
        incoming
            .outcome
            .clone()
            .filter(|_| small)
            .map(|outcome| (chunk.clone(), outcome))
    };
    let work: Vec<_> = incoming.iter().map(whole).collect();
    let is_whole = |pair: Option<(opslink::pb::LogChunk, Outcome)>| {
        pair.is_some_and(|(chunk, outcome)| verify::is_whole(&chunk, &outcome))
    };
    let count = work.iter().flatten().count();
    if count <= 4 {
        // Some ten microseconds: less than a trip to another thread.
        return work.into_iter().map(is_whole).collect();
    }
    let all = work.len();
    let done = off_thread(move || work.into_iter().map(is_whole).collect()).await;
    done.unwrap_or_else(|| vec![false; all])
}
