//! What the process launcher keeps in memory of one attempt.

use std::io;

use opslink::{pb, reason::Reason, time::UnixMicros};

use super::Phase;
use crate::journal::{AttemptDir, ChunkReader, close_if_orphaned, end_chunk, gap_chunk};

/// One attempt of the process launcher.
#[derive(Debug)]
pub(super) struct Slot {
    pub dir: AttemptDir,
    pub phase: Phase,
    pub cancel: bool,
    /// The cloud has everything below.
    pub acknowledged: u64,
    /// Number of the runner's connections that are open: 0 or 1, 2 for a moment while it redials.
    pub connections: usize,
    reader: Option<ChunkReader>,
}

impl Slot {
    pub(super) fn new(dir: AttemptDir, phase: Phase) -> Self {
        let cancel = dir.cancel_requested();
        Self {
            dir,
            phase,
            cancel,
            acknowledged: 0,
            connections: 0,
            reader: None,
        }
    }

    /// Reads the chunk that holds event `seq`, or the first after it.
    pub(super) fn read(&mut self, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        match self.read_plain(seq) {
            // Nobody writes any more: cut the damage off, and let the end say what is missing.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && self.phase == Phase::Ended => {
                self.reader = None;
                close_if_orphaned(&self.dir)?;
                self.read_plain(seq)
            }
            // It may be closed when its runner has ended.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            other => other,
        }
    }

    /// Number of events in the journal, as far as it can be read.
    pub(super) fn journal_end(&mut self) -> u64 {
        let Ok(mut reader) = self.dir.chunks() else { return 0 };
        while let Ok(Some(_)) = reader.read() {}
        reader.next_seq()
    }

    fn read_plain(&mut self, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => match self.dir.chunks() {
                Ok(reader) => none.insert(reader),
                // Its runner has not begun.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        if reader.next_seq() != seq {
            reader.seek(seq)?;
        }
        let first = reader.next_seq();
        let chunk = reader.read()?;
        if first > seq {
            let first_line = chunk.map_or(0, |chunk| chunk.first_line);
            return Ok(Some(gap_chunk(self.dir.id(), seq, first, first_line)));
        }
        if chunk.is_none() && self.phase == Phase::Ended && reader.next_seq() < seq {
            return Ok(Some(self.end_beyond(seq)?));
        }
        Ok(chunk)
    }

    /// The cloud has events that a power cut took from this journal: an end after them, with what is known.
    fn end_beyond(&self, seq: u64) -> io::Result<pb::LogChunk> {
        let mut outcome = self.dir.record()?.outcome.unwrap_or_default();
        if outcome.kind() == pb::OutcomeKind::Unspecified {
            outcome.kind = pb::OutcomeKind::Lost.into();
            outcome.reason = Reason::RunnerLost.code().to_owned();
        }
        Ok(end_chunk(self.dir.id(), seq, 0, outcome, UnixMicros::now()))
    }
}
