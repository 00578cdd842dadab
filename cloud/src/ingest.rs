//! Chunks in: everything that waits becomes one commit, then acknowledgements, then live readers.
//!
//! Order per attempt is kept from link to reader, since one task does all of it. Nothing is acknowledged before it is
//! durable. While the store is away nothing is dropped: the batch is tried again, the queue fills, and the agents feel
//! it and spool.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    problem::Problem,
    reason::Reason,
    task::Outcome,
    time::UnixMicros,
};
use tokio::sync::mpsc;

use crate::{
    blocking::off_thread,
    link::ChunkReport,
    store::record::{Appended, Chunk},
    tail::{Item, LiveChunk},
    task::{
        Engine,
        commit::WholeOutput,
        events::{Note, not_yours},
        verify,
    },
};

/// Chunks that go into one commit.
const BATCH_MAX: usize = 1_024;
/// Payload after which a commit takes no more: a few milliseconds of disk.
const BATCH_BYTES: usize = 8 << 20;
/// Largest payload that is stored with the attempt's end. Bounds what waits in the queue of ends: 8,192 of them.
const SMALL_PAYLOAD: usize = 4 << 10;
/// Between two tries of a commit.
const RETRY: Duration = Duration::from_millis(200);

/// A chunk that may be stored.
struct Incoming {
    report: ChunkReport,
    task_id: TaskId,
    outcome: Option<Outcome>,
}

/// Takes chunks until the engine stops.
pub(crate) async fn run(engine: Engine, mut chunks: mpsc::Receiver<ChunkReport>) {
    while let Some(first) = chunks.recv().await {
        let mut bytes = first.chunk.payload.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && bytes < BATCH_BYTES
            && let Ok(next) = chunks.try_recv()
        {
            bytes += next.chunk.payload.len();
            batch.push(next);
        }
        store_batch(&engine, batch).await;
    }
}

async fn store_batch(engine: &Engine, batch: Vec<ChunkReport>) {
    let mut owners = HashMap::new();
    let mut incoming = Vec::with_capacity(batch.len());
    for report in batch {
        let Some(task_id) = owner(engine, &mut owners, &report).await else {
            continue;
        };
        match report.chunk.outcome.clone().map(Outcome::try_from).transpose() {
            Ok(outcome) => incoming.push(Incoming {
                report,
                task_id,
                outcome,
            }),
            Err(error) => refuse(engine, &report, &error.to_string()),
        }
    }
    if incoming.is_empty() {
        return;
    }
    let (whole, incoming): (Vec<_>, Vec<_>) = incoming
        .into_iter()
        .partition(|incoming| goes_with_its_end(engine, incoming));
    for incoming in whole {
        end_with_output(engine, incoming).await;
    }
    if incoming.is_empty() {
        return;
    }
    let rows: Vec<Chunk> = incoming.iter().map(row).collect();
    // Small ends are compared while the disk is busy.
    let (appended, verified) = tokio::join!(append(engine, rows), compare(&incoming));
    for ((incoming, appended), verified) in incoming.into_iter().zip(appended).zip(verified) {
        settle(engine, incoming, appended, verified).await;
    }
}

/// Says whether the chunk is all output of its attempt and small: then it is stored with the attempt's end, in the
/// same write.
fn goes_with_its_end(engine: &Engine, incoming: &Incoming) -> bool {
    let chunk = &incoming.report.chunk;
    incoming.outcome.is_some()
        && chunk.first_seq == 0
        && chunk.event_count > 0
        && chunk.payload.len() <= SMALL_PAYLOAD
        && engine.book.has_no_output(incoming.report.attempt_id)
}

async fn end_with_output(engine: &Engine, incoming: Incoming) {
    let row = row(&incoming);
    let ChunkReport {
        agent_id,
        attempt_id,
        chunk,
        ..
    } = incoming.report;
    let Some(outcome) = incoming.outcome else { return };
    // Some ten microseconds: less than a trip to another thread.
    let verified = verify::is_whole(&chunk, &outcome);
    let ended = Note::ended(agent_id, attempt_id, outcome, verified, row.next_seq());
    let live = Arc::new(LiveChunk {
        agent_id,
        attempt_id,
        chunk,
    });
    engine.note(ended.with_output(WholeOutput { row, live })).await;
}

/// The task that a chunk belongs to; none when it must not be stored.
async fn owner(
    engine: &Engine,
    owners: &mut HashMap<AttemptId, Option<(AgentId, TaskId)>>,
    report: &ChunkReport,
) -> Option<TaskId> {
    let attempt = report.attempt_id;
    let owner = match engine
        .book
        .owner(attempt)
        .or_else(|| owners.get(&attempt).copied().flatten())
    {
        Some(owner) => Some(owner),
        None if owners.contains_key(&attempt) => None,
        // Not at work (any more): rare, so the store is asked.
        None => loop {
            match engine.store.execution_by_attempt(attempt).await {
                Ok(execution) => break execution.map(|execution| (execution.agent_id, execution.task_id)),
                Err(error) => {
                    tracing::warn!(%error, "a chunk waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        },
    };
    owners.insert(attempt, owner);
    match owner {
        Some((agent, task)) if agent == report.agent_id => Some(task),
        Some(_) | None => {
            tracing::warn!(agent_id = %report.agent_id, attempt_id = %attempt, "agent sends output of no attempt of its own");
            engine.links.disconnect(report.agent_id, not_yours(attempt));
            None
        }
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

async fn append(engine: &Engine, rows: Vec<Chunk>) -> Vec<Appended> {
    loop {
        match engine.store.chunk_append(rows.clone()).await {
            Ok(appended) => return appended,
            Err(error) => {
                tracing::warn!(%error, chunks = rows.len(), "output waits for the store");
                tokio::time::sleep(RETRY).await;
            }
        }
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

async fn settle(engine: &Engine, incoming: Incoming, appended: Appended, verified: bool) {
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
        return refuse(engine, &report, &detail);
    }
    let is_last_stored = appended.next_seq == opslink::chunk::next_seq(&report.chunk);
    engine.book.note_output(attempt);
    if appended.stored {
        engine.tails.publish(task_id, || {
            Item::Chunk(Arc::new(LiveChunk {
                agent_id: agent,
                attempt_id: attempt,
                chunk: report.chunk,
            }))
        });
    }
    match outcome {
        // Acknowledged once the end is stored too. Also when the chunk came again: the end may not have been.
        Some(outcome) if is_last_stored => {
            engine
                .note(Note::ended(agent, attempt, outcome, verified, appended.next_seq))
                .await;
        }
        Some(_) | None => engine.links.send_ack(agent, attempt, appended.next_seq, false),
    }
}

fn refuse(engine: &Engine, report: &ChunkReport, detail: &str) {
    let problem = Problem::new(Reason::ChunkInvalid)
        .with("attempt", report.attempt_id)
        .with("detail", detail);
    engine.links.disconnect(report.agent_id, problem);
}
