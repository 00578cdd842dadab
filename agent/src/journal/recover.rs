//! What the agent does with its journal when it starts: adopt what runs, close what cannot be known, cut torn tails.

use std::{fs, io, path::Path};

use bytes::Bytes;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use prost::Message;

use super::{
    attempt::AttemptDir,
    record::{AttemptRecord, boot_id},
};

/// Events of one chunk that stands for lost ones; far below what a chunk may have.
const GAP_EVENTS_MAX: u32 = 4_096;

/// An attempt that was in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// Its folder.
    pub dir: AttemptDir,
    /// Events in the journal: 0 … `next_seq` - 1.
    pub next_seq: u64,
    /// What is to be done about it.
    pub recovery: Recovery,
}

/// What is to be done about an attempt that was in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Its runner lives and will dial the agent's socket.
    Running,
    /// Its End event is in the journal.
    Ended,
}

/// Reads every attempt under `root`. Those whose runner is gone without an end get one: `lost`.
///
/// # Errors
/// Those of reading `root`. A folder that cannot be read is reported by `skipped` and left alone.
pub fn recover(root: &Path, mut skipped: impl FnMut(&Path, io::Error)) -> io::Result<Vec<Recovered>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        match recover_one(&path) {
            Ok(recovered) => found.push(recovered),
            Err(error) => skipped(&path, error),
        }
    }
    found.sort_by_key(|recovered| recovered.dir.id());
    Ok(found)
}

fn recover_one(path: &Path) -> io::Result<Recovered> {
    let dir = AttemptDir::open(path)?;
    match close_if_orphaned(&dir)? {
        Closing::Closed { next_seq } => Ok(Recovered {
            dir,
            next_seq,
            recovery: Recovery::Ended,
        }),
        Closing::RunnerLives => {
            let next_seq = valid_chunks(&dir)?.next_seq;
            Ok(Recovered {
                dir,
                next_seq,
                recovery: Recovery::Running,
            })
        }
    }
}

/// What became of an attempt that may have lost its runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Its runner lives: nothing was touched.
    RunnerLives,
    /// Its journal ends with an End event now.
    Closed {
        /// Events in the journal.
        next_seq: u64,
    },
}

/// Makes sure that an attempt whose runner is gone has an end: its own, or one that says what is known. Cuts torn
/// tails. Whether the runner is gone is told by the lock that it holds on `state` for as long as it lives.
///
/// # Errors
/// Those of the disk.
pub fn close_if_orphaned(dir: &AttemptDir) -> io::Result<Closing> {
    let mut writer = match dir.take_over() {
        Ok(writer) => writer,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Closing::RunnerLives),
        Err(error) => return Err(error),
    };
    let record = dir.record()?;
    let valid = valid_chunks(dir)?;
    writer.truncate(record.valid_bytes, valid.segment, valid.bytes)?;
    if let Some(outcome) = valid.outcome {
        // The last chunk is the truth: the runner appends it before it records the end.
        if record.outcome.is_none() {
            writer.ended(&outcome)?;
            writer.sync()?;
        }
        return Ok(Closing::Closed {
            next_seq: valid.next_seq,
        });
    }
    let now = UnixMicros::now();
    let outcome = what_is_known(&record, now);
    writer.append_chunk(&end_chunk(
        dir.id(),
        valid.next_seq,
        valid.next_line,
        outcome.clone(),
        now,
    ))?;
    writer.ended(&outcome)?;
    writer.sync()?;
    Ok(Closing::Closed {
        next_seq: valid.next_seq + 1,
    })
}

/// The valid prefix of an attempt's chunks.
struct Valid {
    next_seq: u64,
    next_line: u64,
    /// The segment that it ends in, and its length there.
    segment: u64,
    bytes: u64,
    outcome: Option<pb::Outcome>,
}

fn valid_chunks(dir: &AttemptDir) -> io::Result<Valid> {
    let mut valid = Valid {
        next_seq: 0,
        next_line: 0,
        segment: 0,
        bytes: 0,
        outcome: None,
    };
    let mut reader = match dir.chunks() {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(valid),
        Err(error) => return Err(error),
    };
    (valid.next_seq, valid.segment) = (reader.next_seq(), reader.segment());
    loop {
        match reader.read() {
            Ok(Some(chunk)) => {
                valid.next_line = chunk.first_line + chunk.line_count;
                valid.outcome = chunk.outcome;
                (valid.next_seq, valid.bytes) = (reader.next_seq(), reader.offset());
                valid.segment = reader.segment();
            }
            Ok(None) => return Ok(valid),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(valid),
            Err(error) => return Err(error),
        }
    }
}

/// The outcome of an attempt whose chunks have no end.
fn what_is_known(record: &AttemptRecord, now: UnixMicros) -> pb::Outcome {
    if let Some(recorded) = &record.outcome {
        // The end was recorded but its chunk is damaged: how it ended is known, its output is not whole.
        return recorded.clone();
    }
    // Within one boot the page cache outlives every process: no `started` record means that nothing started, and the
    // lock that recovery holds now keeps it so. After a power cut a missing record proves nothing.
    let same_boot = !record.received_boot_id.is_empty() && record.received_boot_id == boot_id();
    let (kind, reason, message) = if !same_boot {
        let message = "the machine restarted while this was at work; whether it finished cannot be known";
        (pb::OutcomeKind::Lost, Reason::HostRebooted, message)
    } else if record.runner.is_some() {
        let message = "the process that did the work vanished; whether it finished cannot be known";
        (pb::OutcomeKind::Lost, Reason::RunnerLost, message)
    } else {
        let message = "the agent stopped before the work began; nothing ran";
        (pb::OutcomeKind::Refused, Reason::NotStarted, message)
    };
    pb::Outcome {
        kind: kind.into(),
        reason: reason.code().to_owned(),
        message: message.to_owned(),
        started_time_us: record.started_time_us.unwrap_or(0),
        finished_time_us: now.0,
        ..Default::default()
    }
}

/// Stands for events from `seq` to before `until` that the cloud had, gave up, and asks for again, when they are not here
/// any more: a note, and events without content, so that the numbers go on. At most as many as one chunk may have; the
/// cloud then asks for the next.
pub(crate) fn gap_chunk(id: AttemptId, seq: u64, until: u64, first_line: u64) -> pb::LogChunk {
    let now = UnixMicros::now().0;
    let count = u32::try_from(until - seq).map_or(GAP_EVENTS_MAX, |count| count.min(GAP_EVENTS_MAX));
    let note = pb::event::Body::Note(pb::Note {
        level: pb::Level::Error.into(),
        reason: Reason::OutputLost.code().to_owned(),
        message: "output is missing here: the cloud had it, lost it again, and the agent has it no more".to_owned(),
    });
    let nothing = pb::event::Body::Output(pb::Output {
        stream: pb::Stream::Stdout.into(),
        data: Bytes::new(),
    });
    let events = std::iter::once(note)
        .chain(std::iter::repeat_n(nothing, count.saturating_sub(1) as usize))
        .map(|body| pb::Event {
            time_us: now,
            body: Some(body),
        })
        .collect();
    let payload = pb::EventBatch { events }.encode_to_vec();
    pb::LogChunk {
        attempt_id: id.to_string(),
        first_seq: seq,
        event_count: count,
        first_line,
        line_count: 0,
        raw_size: payload.len() as u64,
        first_time_us: now,
        last_time_us: now,
        codec: pb::Codec::Identity.into(),
        payload: payload.into(),
        outcome: None,
    }
}

/// The last chunk of an attempt whose runner cannot write it: one End event.
pub(crate) fn end_chunk(
    id: AttemptId,
    next_seq: u64,
    next_line: u64,
    outcome: pb::Outcome,
    now: UnixMicros,
) -> pb::LogChunk {
    let event = pb::Event {
        time_us: now.0,
        body: Some(pb::event::Body::End(outcome.clone())),
    };
    let payload = pb::EventBatch { events: vec![event] }.encode_to_vec();
    pb::LogChunk {
        attempt_id: id.to_string(),
        first_seq: next_seq,
        event_count: 1,
        first_line: next_line,
        line_count: 0,
        raw_size: payload.len() as u64,
        first_time_us: now.0,
        last_time_us: now.0,
        codec: pb::Codec::Identity.into(),
        payload: payload.into(),
        outcome: Some(outcome),
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
