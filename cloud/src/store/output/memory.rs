//! The same in maps.

use bytes::Bytes;
use opslink::id::AttemptId;

use crate::store::{
    Result,
    memory::State,
    record::{Appended, Chunk, ChunkStart},
};

impl State {
    fn chunks_of(&self, attempt: AttemptId) -> impl DoubleEndedIterator<Item = &Chunk> {
        let all = (attempt, 0)..=(attempt, u64::MAX);
        self.chunks.range(all).map(|(_, chunk)| chunk)
    }

    pub(super) fn chunk_next_seq(&self, attempt: AttemptId) -> u64 {
        self.chunks_of(attempt).next_back().map_or(0, Chunk::next_seq)
    }

    pub(in crate::store) fn append(&mut self, chunk: &Chunk) -> Appended {
        let wanted = self.chunk_next_seq(chunk.attempt_id);
        // A chunk without events would share its place with the next one.
        if chunk.first_seq != wanted || chunk.event_count == 0 {
            return Appended {
                next_seq: wanted,
                stored: false,
            };
        }
        self.chunks.insert((chunk.attempt_id, chunk.first_seq), chunk.clone());
        Appended {
            next_seq: chunk.next_seq(),
            stored: true,
        }
    }

    pub(super) fn append_chunks(&mut self, chunks: &[Chunk]) -> Result<Vec<Appended>> {
        Ok(chunks.iter().map(|chunk| self.append(chunk)).collect())
    }

    fn chunks_from(&self, attempt: AttemptId, start: ChunkStart) -> impl Iterator<Item = &Chunk> {
        self.chunks_of(attempt).skip_while(move |chunk| match start {
            ChunkStart::Seq(seq) => chunk.next_seq() <= seq,
            // A line may span chunks: it begins where the line end before it is, which may be the last byte there.
            ChunkStart::Line(line) => chunk.first_line + chunk.line_count < line,
        })
    }

    pub(super) fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Vec<Chunk> {
        let mut total = 0;
        let fits = |chunk: &&Chunk| {
            let first = total == 0;
            total += chunk.payload.len().max(1);
            first || total <= max_bytes
        };
        self.chunks_from(attempt, start).take_while(fits).cloned().collect()
    }

    pub(super) fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Vec<Chunk> {
        let bare = |chunk: &Chunk| Chunk {
            payload: Bytes::new(),
            ..chunk.clone()
        };
        let chunks = self.chunks_from(attempt, ChunkStart::Seq(from_seq));
        chunks.take(limit as usize).map(bare).collect()
    }
}
