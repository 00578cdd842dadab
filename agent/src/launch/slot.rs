//! What the process launcher keeps in memory of one attempt.

use std::io;

use opslink::{pb, reason::Reason, time::UnixMicros};

use super::Phase;
use crate::journal::{AttemptDir, ChunkReader, Closing, Extent, Process, close_at_damage, end_chunk, gap_chunk};

/// One attempt of the process launcher.
#[derive(Debug)]
pub(super) struct Slot {
    pub dir: AttemptDir,
    pub phase: Phase,
    pub cancel: bool,
    /// Its runner has heard that.
    pub cancel_heard: bool,
    /// The cloud has everything below.
    pub acknowledged: u64,
    /// Number of the runner's connections that are open: 0 or 1, 2 for a moment while it redials.
    pub connections: usize,
    /// The process that was forked for it, while nobody has heard of it for a while.
    pub forked: Option<Process>,
    events: Events,
    /// An end for a journal that takes none.
    unwritten_end: Option<pb::Outcome>,
    reader: Option<ChunkReader>,
}

/// Number of events in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Events {
    /// So many, as whoever writes them says.
    Counted(u64),
    /// Nobody says: the journal has to be looked at.
    Uncounted,
}

impl Slot {
    pub(super) fn new(dir: AttemptDir, phase: Phase, next_seq: u64) -> Self {
        let cancel = dir.cancel_requested();
        Self {
            dir,
            phase,
            cancel,
            cancel_heard: false,
            acknowledged: 0,
            connections: 0,
            forked: None,
            events: Events::Counted(next_seq),
            unwritten_end: None,
            reader: None,
        }
    }

    /// Says whether it should have a runner and none talks.
    pub(super) fn is_silent(&self) -> bool {
        self.connections == 0 && self.phase != Phase::Ended
    }

    /// Reads the chunk that holds event `seq`, or the first after it.
    pub(super) fn read(&mut self, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        match self.read_plain(seq) {
            // Nobody writes any more: cut the damage off, and let the end say what is missing.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && self.phase == Phase::Ended => {
                self.reader = None;
                if let Closing::Closed { next_seq } = close_at_damage(&self.dir)? {
                    self.events = Events::Counted(next_seq);
                }
                self.read_plain(seq)
            }
            // It may be closed when its runner has ended.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            other => other,
        }
    }

    /// The journal has grown. What was counted once is never less.
    pub(super) fn grown(&mut self, events: Events) {
        self.events = match (self.events, events) {
            (Events::Counted(before), Events::Counted(now)) => Events::Counted(before.max(now)),
            (Events::Uncounted, Events::Counted(now)) => Events::Counted(now),
            (_, Events::Uncounted) => Events::Uncounted,
        };
    }

    /// Number of events in the journal. Reads nothing, but for what a runner of 0.1.0 wrote: its last segment.
    pub(super) fn next_seq(&self) -> u64 {
        let written = match self.events {
            Events::Counted(next_seq) => next_seq,
            Events::Uncounted => Extent::of_tail(&self.dir).map_or(0, |extent| extent.next_seq),
        };
        written + u64::from(self.unwritten_end.is_some())
    }

    /// The journal takes no end: this one stands for it, for as long as this process lives.
    pub(super) fn end_unwritten(&mut self, outcome: pb::Outcome) {
        self.unwritten_end = Some(outcome);
    }

    fn read_plain(&mut self, seq: u64) -> io::Result<Option<pb::LogChunk>> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => match self.dir.chunks() {
                Ok(reader) => none.insert(reader),
                // Its runner has not begun.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.unwritten(seq)),
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
        if chunk.is_none() && self.phase == Phase::Ended {
            if reader.next_seq() < seq {
                return Ok(Some(self.end_beyond(seq)?));
            }
            return Ok(self.unwritten(seq));
        }
        Ok(chunk)
    }

    /// The end that the journal does not take, at its place.
    fn unwritten(&self, seq: u64) -> Option<pb::LogChunk> {
        let outcome = self.unwritten_end.clone()?;
        (seq + 1 == self.next_seq()).then(|| end_chunk(self.dir.id(), seq, 0, outcome, UnixMicros::now()))
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
