//! Stored output.

use bytes::Bytes;
use opslink::{id::AttemptId, task::Outcome, time::UnixMicros};

/// A stored chunk, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Whose.
    pub attempt_id: AttemptId,
    /// First event.
    pub first_seq: u64,
    /// Events in it.
    pub event_count: u32,
    /// First line.
    pub first_line: u64,
    /// Line ends in it.
    pub line_count: u64,
    /// Size before compression.
    pub raw_size: u64,
    /// Time of its first event.
    pub first_time: UnixMicros,
    /// Time of its last event.
    pub last_time: UnixMicros,
    /// `pb::Codec` as its number.
    pub codec: i32,
    /// Compressed `pb::EventBatch`; empty in an index listing.
    pub payload: Bytes,
    /// Set on the last chunk of an attempt; `pb::Outcome`.
    pub outcome: Option<Outcome>,
}

impl Chunk {
    /// Returns the first event after this chunk.
    pub const fn next_seq(&self) -> u64 {
        self.first_seq + self.event_count as u64
    }

    /// Says whether this is all output of its attempt.
    pub const fn is_whole(&self) -> bool {
        self.first_seq == 0 && self.outcome.is_some()
    }
}

/// How the storing of a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// First event that the store does not have, after this.
    pub next_seq: u64,
    /// False when the chunk was a repetition or left a gap; nothing was stored.
    pub stored: bool,
}

/// Which chunks of an attempt to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStart {
    /// From the chunk that holds this event.
    Seq(u64),
    /// From the chunk that holds this line.
    Line(u64),
}
