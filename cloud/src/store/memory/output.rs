//! Chunks in memory.

use bytes::Bytes;
use opslink::id::AttemptId;

use super::{super::record::*, State};

impl State {
    pub(super) fn chunk_next_seq(&self, attempt: AttemptId) -> u64 {
        self.chunks
            .get(&attempt)
            .and_then(|chunks| chunks.last())
            .map_or(0, Chunk::next_seq)
    }

    pub(super) fn chunk_append(&mut self, chunk: Chunk) -> Appended {
        let wanted = self.chunk_next_seq(chunk.attempt_id);
        // A chunk without events would share its place with the next one.
        if chunk.first_seq != wanted || chunk.event_count == 0 {
            return Appended {
                next_seq: wanted,
                stored: false,
            };
        }
        let next_seq = chunk.next_seq();
        self.chunks.entry(chunk.attempt_id).or_default().push(chunk);
        Appended { next_seq, stored: true }
    }

    fn chunks_from(&self, attempt: AttemptId, start: ChunkStart) -> &[Chunk] {
        let chunks = self.chunks.get(&attempt).map_or(&[][..], Vec::as_slice);
        let first = chunks.partition_point(|chunk| match start {
            ChunkStart::Seq(seq) => chunk.next_seq() <= seq,
            // A line may span chunks: it begins where the line end before it is, which may be the last byte there.
            ChunkStart::Line(line) => chunk.first_line + chunk.line_count < line,
        });
        chunks.get(first..).unwrap_or_default()
    }

    pub(super) fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Vec<Chunk> {
        let mut total = 0;
        let fits = |chunk: &&Chunk| {
            let first = total == 0;
            total += chunk.payload.len().max(1);
            first || total <= max_bytes
        };
        self.chunks_from(attempt, start)
            .iter()
            .take_while(fits)
            .cloned()
            .collect()
    }

    pub(super) fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Vec<Chunk> {
        let bare = |chunk: &Chunk| Chunk {
            payload: Bytes::new(),
            ..chunk.clone()
        };
        self.chunks_from(attempt, ChunkStart::Seq(from_seq))
            .iter()
            .take(limit as usize)
            .map(bare)
            .collect()
    }
}
