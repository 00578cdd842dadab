//! What the agent does with its journal when it starts: adopt what runs, close what cannot be known, cut torn tails.

use std::{fs, io, path::Path};

use opslink::{id::AttemptId, pb, time::UnixMicros};
use prost::Message;

use super::{
    attempt::AttemptDir,
    record::{Process, boot_id},
};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Its runner lives and will dial the agent's socket.
    Running(Process),
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
    if let Some(runner) = dir.record()?.runner
        && runner.is_alive()
    {
        let next_seq = valid_chunks(&dir)?.next_seq;
        return Ok(Recovered {
            dir,
            next_seq,
            recovery: Recovery::Running(runner),
        });
    }
    let next_seq = close_as_lost(&dir)?;
    Ok(Recovered {
        dir,
        next_seq,
        recovery: Recovery::Ended,
    })
}

/// Makes sure that an attempt whose runner is gone has an end: its own, or `lost`. Cuts torn tails.
/// Returns the number of events in the journal. Only when no writer lives.
///
/// # Errors
/// Those of the disk.
pub fn close_as_lost(dir: &AttemptDir) -> io::Result<u64> {
    let record = dir.record()?;
    let valid = valid_chunks(dir)?;
    dir.truncate(record.valid_bytes, valid.bytes)?;
    if let Some(outcome) = valid.outcome {
        // The last chunk is the truth: the runner appends it before it records the end.
        if record.outcome.is_none() {
            let mut writer = dir.writer()?;
            writer.ended(&outcome)?;
            writer.sync()?;
        }
        return Ok(valid.next_seq);
    }
    let now = UnixMicros::now();
    let outcome = lost_outcome(&record.received_boot_id, record.started_time_us, record.outcome, now);
    let chunk = end_chunk(dir.id(), &valid, outcome.clone(), now);
    let mut writer = dir.writer()?;
    writer.append_chunk(&chunk)?;
    writer.ended(&outcome)?;
    writer.sync()?;
    Ok(valid.next_seq + 1)
}

/// The valid prefix of an attempt's chunks.
struct Valid {
    next_seq: u64,
    next_line: u64,
    bytes: u64,
    outcome: Option<pb::Outcome>,
}

fn valid_chunks(dir: &AttemptDir) -> io::Result<Valid> {
    let mut valid = Valid {
        next_seq: 0,
        next_line: 0,
        bytes: 0,
        outcome: None,
    };
    let mut reader = match dir.chunks() {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(valid),
        Err(error) => return Err(error),
    };
    loop {
        match reader.read() {
            Ok(Some(chunk)) => {
                valid.next_line = chunk.first_line + chunk.line_count;
                valid.outcome = chunk.outcome;
                (valid.next_seq, valid.bytes) = (reader.next_seq(), reader.offset());
            }
            Ok(None) => return Ok(valid),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(valid),
            Err(error) => return Err(error),
        }
    }
}

fn lost_outcome(
    received_boot_id: &str,
    started_time_us: Option<i64>,
    recorded: Option<pb::Outcome>,
    now: UnixMicros,
) -> pb::Outcome {
    if let Some(recorded) = recorded {
        // The end was recorded but its chunk was damaged: how it ended is known, its output is not whole.
        return recorded;
    }
    let rebooted = !received_boot_id.is_empty() && received_boot_id != boot_id();
    let (reason, message) = if rebooted {
        (
            "HOST_REBOOTED",
            "the machine restarted while this was at work; whether it finished cannot be known",
        )
    } else {
        (
            "RUNNER_LOST",
            "the process that did the work vanished; whether it finished cannot be known",
        )
    };
    pb::Outcome {
        kind: pb::OutcomeKind::Lost.into(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        started_time_us: started_time_us.unwrap_or(0),
        finished_time_us: now.0,
        ..Default::default()
    }
}

/// The last chunk of an attempt whose runner cannot write it: one End event.
fn end_chunk(id: AttemptId, valid: &Valid, outcome: pb::Outcome, now: UnixMicros) -> pb::LogChunk {
    let event = pb::Event {
        time_us: now.0,
        body: Some(pb::event::Body::End(outcome.clone())),
    };
    let payload = pb::EventBatch { events: vec![event] }.encode_to_vec();
    pb::LogChunk {
        attempt_id: id.to_string(),
        first_seq: valid.next_seq,
        event_count: 1,
        first_line: valid.next_line,
        line_count: 0,
        raw_size: payload.len() as u64,
        first_time_us: now.0,
        last_time_us: now.0,
        codec: pb::Codec::Identity.into(),
        payload: payload.into(),
        outcome: Some(outcome),
    }
}
