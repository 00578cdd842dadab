//! Where an attempt's output is: on PostgreSQL in one table; on SQLite in `chunks.db`, or, when it is one small chunk that came
//! with the attempt's end, in `main.db`, where that end is.

use std::collections::BTreeMap;

use opslink::id::AttemptId;
use sea_orm::DatabaseConnection;

use super::{SqlStore, engine::Engine, repo::output};
use crate::store::{
    Result,
    record::{Appended, Chunk, ChunkStart},
};

impl SqlStore {
    /// Where small output is, when that is not where all other chunks are.
    const fn small_output_in(&self) -> Option<&DatabaseConnection> {
        match &self.main {
            Engine::Sqlite { reader, .. } => Some(reader),
            Engine::Postgres { .. } => None,
        }
    }

    /// First event that is not stored, for each of these attempts whose output came with its end.
    async fn small_output(&self, attempts: impl Iterator<Item = AttemptId>) -> Result<BTreeMap<AttemptId, u64>> {
        match self.small_output_in() {
            Some(main) => Ok(output::next_seqs(main, attempts).await?),
            None => Ok(BTreeMap::new()),
        }
    }

    pub(super) async fn output_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
        let whole = chunks.iter().filter(|chunk| chunk.is_whole());
        let known = self.small_output(whole.map(|chunk| chunk.attempt_id)).await?;
        if known.is_empty() {
            return self.append(chunks).await;
        }
        let is_new = |chunk: &&Chunk| !known.contains_key(&chunk.attempt_id);
        let new = chunks.iter().filter(is_new).cloned().collect();
        let mut appended = self.append(new).await?.into_iter();
        let answer = |chunk: Chunk| match known.get(&chunk.attempt_id) {
            Some(next_seq) => Some(Appended {
                next_seq: *next_seq,
                stored: false,
            }),
            None => appended.next(),
        };
        Ok(chunks.into_iter().filter_map(answer).collect())
    }

    async fn append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
        self.chunks
            .write(chunks, |tx, chunks| Box::pin(output::append(tx, chunks)))
            .await
    }

    pub(super) async fn output_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>> {
        let mut known = output::next_seqs(self.chunks.read(), attempts.iter().copied()).await?;
        let others = attempts.iter().copied().filter(|attempt| !known.contains_key(attempt));
        let small = self.small_output(others).await?;
        known.extend(small);
        let next_seq = |attempt| known.get(attempt).copied().unwrap_or(0);
        Ok(attempts.iter().map(next_seq).collect())
    }

    pub(super) async fn output_read(
        &self,
        attempt: AttemptId,
        start: ChunkStart,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>> {
        let chunks = output::read(self.chunks.read(), attempt, start, max_bytes).await?;
        match self.small_output_in() {
            Some(main) if chunks.is_empty() => Ok(output::read(main, attempt, start, max_bytes).await?),
            _ => Ok(chunks),
        }
    }

    pub(super) async fn output_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>> {
        let chunks = output::index(self.chunks.read(), attempt, from_seq, limit).await?;
        match self.small_output_in() {
            Some(main) if chunks.is_empty() => Ok(output::index(main, attempt, from_seq, limit).await?),
            _ => Ok(chunks),
        }
    }
}
