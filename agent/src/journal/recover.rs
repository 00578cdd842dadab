//! What the agent does with its journal when it starts: adopt what runs, close what cannot be known, cut torn tails.

use std::{fs, io, path::Path};

use bytes::Bytes;
use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use prost::Message;

use super::{
    attempt::AttemptDir,
    chunks::ChunkReader,
    record::{AttemptRecord, boot_id},
    segments,
};
use crate::{
    crashpoint,
    remains::{self, Remains},
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
    /// Its runner is gone and it has no end yet: something that it left still runs, or the disk takes no end now.
    Open,
}

/// Reads every attempt under `root`. Those whose runner is gone without an end get one: `lost`. Costs little however
/// much output there is: only the last segment of each attempt is read.
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
    let (recovery, next_seq) = match close_if_orphaned(&dir, Remnants::Spare) {
        Ok(Closing::Closed { next_seq }) => (Recovery::Ended, next_seq),
        Ok(Closing::RunnerLives) => (Recovery::Running, Extent::of_tail(&dir)?.next_seq),
        Ok(Closing::SomethingLeft) => (Recovery::Open, Extent::of_tail(&dir)?.next_seq),
        // A full disk, say: what can be read must not be forgotten for that.
        Err(error) => match Extent::of_tail(&dir) {
            Ok(extent) => (Recovery::Open, extent.next_seq),
            Err(_) => return Err(error),
        },
    };
    Ok(Recovered {
        dir,
        next_seq,
        recovery,
    })
}

/// What became of an attempt that may have lost its runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Its runner lives: nothing was touched.
    RunnerLives,
    /// Its runner is gone and something that it started is not: nothing was touched.
    SomethingLeft,
    /// Its journal ends with an End event now.
    Closed {
        /// Events in the journal.
        next_seq: u64,
    },
}

/// What is done about processes that a runner without an end has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remnants {
    /// They go on, and the attempt stays open. Returns at once.
    Spare,
    /// They are ended, which takes some seconds.
    End,
}

/// Makes sure that an attempt whose runner is gone has an end: its own, or one that says what is known. Cuts torn
/// tails. Whether the runner is gone is told by the lock that it holds on `state` for as long as it lives.
///
/// # Errors
/// Those of the disk.
pub fn close_if_orphaned(dir: &AttemptDir, remnants: Remnants) -> io::Result<Closing> {
    close(dir, Extent::of_tail, remnants)
}

/// The same when something in the middle is damaged: everything from there on is cut off.
///
/// # Errors
/// Those of the disk.
pub(crate) fn close_at_damage(dir: &AttemptDir) -> io::Result<Closing> {
    close(dir, Extent::of_all, Remnants::End)
}

fn close(dir: &AttemptDir, extent: fn(&AttemptDir) -> io::Result<Extent>, remnants: Remnants) -> io::Result<Closing> {
    let mut writer = match dir.take_over() {
        Ok(writer) => writer,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Closing::RunnerLives),
        Err(error) => return Err(error),
    };
    let record = dir.record()?;
    let valid = extent(dir)?;
    if let Some(outcome) = valid.outcome {
        // The last chunk is the truth: the runner appends it before it records the end.
        writer.truncate(record.valid_bytes, valid.segment, valid.bytes)?;
        if record.outcome.is_none() {
            writer.ended(&outcome)?;
            writer.sync()?;
        }
        return Ok(Closing::Closed {
            next_seq: valid.next_seq,
        });
    }
    // A recorded end is one of the runner's own: what it left then, it left on purpose.
    let left = match (&record.runner, remnants) {
        (Some(runner), Remnants::Spare) if record.outcome.is_none() && remains::exist(dir.id(), runner) => {
            return Ok(Closing::SomethingLeft);
        }
        (Some(runner), Remnants::End) if record.outcome.is_none() => remains::end(dir.id(), runner),
        (Some(_), Remnants::Spare | Remnants::End) | (None, _) => Remains::default(),
    };
    writer.truncate(record.valid_bytes, valid.segment, valid.bytes)?;
    let now = UnixMicros::now();
    let outcome = what_is_known(&record, &left, now);
    writer.append_chunk(&end_chunk(
        dir.id(),
        valid.next_seq,
        valid.next_line,
        outcome.clone(),
        now,
    ))?;
    crashpoint!("recover.end_appended");
    writer.ended(&outcome)?;
    writer.sync()?;
    Ok(Closing::Closed {
        next_seq: valid.next_seq + 1,
    })
}

/// The valid prefix of an attempt's chunks.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    pub(crate) next_seq: u64,
    next_line: u64,
    /// The segment that it ends in, and its length there.
    segment: u64,
    bytes: u64,
    outcome: Option<pb::Outcome>,
}

impl Extent {
    /// Looks at the last segment that has anything; takes those before it to be whole, as their writer left them. What
    /// is damaged there is found by whoever reads it.
    pub(crate) fn of_tail(dir: &AttemptDir) -> io::Result<Self> {
        let mut found = Self::default();
        for segment in segments::list(dir.path())?.into_iter().rev() {
            found = Self::from(ChunkReader::open_at(dir.path(), segment)?)?;
            if found.bytes > 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Reads everything.
    fn of_all(dir: &AttemptDir) -> io::Result<Self> {
        match dir.chunks() {
            Ok(reader) => Self::from(reader),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn from(mut reader: ChunkReader) -> io::Result<Self> {
        let mut valid = Self {
            next_seq: reader.next_seq(),
            segment: reader.segment(),
            ..Self::default()
        };
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
}

/// The outcome of an attempt whose chunks have no end.
fn what_is_known(record: &AttemptRecord, left: &Remains, now: UnixMicros) -> pb::Outcome {
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
        let message = "the agent, or the process for the work, was gone before the work began; nothing ran";
        (pb::OutcomeKind::Refused, Reason::NotStarted, message)
    };
    pb::Outcome {
        kind: kind.into(),
        reason: reason.code().to_owned(),
        message: format!("{message}{}", left.to_sentence()),
        started_time_us: record.started_time_us.unwrap_or(0),
        finished_time_us: now.0,
        events: None,
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
