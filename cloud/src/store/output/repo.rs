//! Where an attempt's output is: on PostgreSQL in one table; on SQLite in `chunks.db`, or, when it is one small chunk that came
//! with the attempt's end, in `main.db`, where that end is.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use opslink::id::AttemptId;
use sea_orm::DatabaseConnection;

use super::sql;
use crate::store::{
    Result, Store, Tx,
    memory::State,
    record::{Appended, Chunk, ChunkStart},
    sql::{Engine as SqlEngine, SqlStore},
    tx::{Engine, tx_writes},
};

tx_writes! {
    /// Stores chunks that continue their attempt exactly. Not for transactions with other resources: on SQLite chunks
    /// are in a file of their own.
    fn append_chunks(chunks: Vec<Chunk>) -> Vec<Appended>;
}

impl Store {
    /// Stores chunks that continue their attempt exactly; others are answered with what is wanted.
    ///
    /// # Errors
    /// The database is away; nothing was stored.
    pub async fn chunk_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        match self.engine() {
            Engine::Sql(sql) => sql.output_append(chunks).await,
            Engine::Memory(memory) => memory.write(chunks, append).await,
        }
    }

    /// First event that the store does not have, per attempt (0 for unknown ones).
    ///
    /// # Errors
    /// The database is away.
    pub async fn chunk_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>> {
        match self.engine() {
            Engine::Sql(sql) => sql.output_next_seq(attempts).await,
            Engine::Memory(memory) => {
                let all = |state: &State| attempts.iter().map(|attempt| state.chunk_next_seq(*attempt)).collect();
                memory.read("chunk_next_seq", all).await
            }
        }
    }

    /// Chunks with payload, in order, until `max_bytes` of payload are passed (always at least one if there is one).
    ///
    /// # Errors
    /// The database is away, or a chunk cannot be read.
    pub async fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Result<Vec<Chunk>> {
        match self.engine() {
            Engine::Sql(sql) => sql.output_read(attempt, start, max_bytes).await,
            Engine::Memory(memory) => {
                let read = |state: &State| state.chunk_read(attempt, start, max_bytes);
                memory.read("chunk_read", read).await
            }
        }
    }

    /// Chunks without payload, from this event, at most `limit`.
    ///
    /// # Errors
    /// The database is away, or a chunk cannot be read.
    pub async fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>> {
        match self.engine() {
            Engine::Sql(sql) => sql.output_index(attempt, from_seq, limit).await,
            Engine::Memory(memory) => {
                let read = |state: &State| state.chunk_index(attempt, from_seq, limit);
                memory.read("chunk_index", read).await
            }
        }
    }
}

fn append<'a>(tx: &'a Tx, chunks: &'a Vec<Chunk>) -> BoxFuture<'a, Result<Vec<Appended>>> {
    Box::pin(tx.append_chunks(chunks))
}

impl SqlStore {
    /// Where small output is, when that is not where all other chunks are.
    const fn small_output_in(&self) -> Option<&DatabaseConnection> {
        match &self.main {
            SqlEngine::Sqlite { reader, .. } => Some(reader),
            SqlEngine::Postgres { .. } => None,
        }
    }

    /// First event that is not stored, for each of these attempts whose output came with its end.
    async fn small_output(&self, attempts: impl Iterator<Item = AttemptId>) -> Result<BTreeMap<AttemptId, u64>> {
        match self.small_output_in() {
            Some(main) => Ok(sql::next_seqs(main, attempts).await?),
            None => Ok(BTreeMap::new()),
        }
    }

    async fn output_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
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
        self.chunks.write(chunks, append).await
    }

    async fn output_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>> {
        let mut known = sql::next_seqs(self.chunks.read(), attempts.iter().copied()).await?;
        let others = attempts.iter().copied().filter(|attempt| !known.contains_key(attempt));
        let small = self.small_output(others).await?;
        known.extend(small);
        let next_seq = |attempt| known.get(attempt).copied().unwrap_or(0);
        Ok(attempts.iter().map(next_seq).collect())
    }

    async fn output_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Result<Vec<Chunk>> {
        let chunks = sql::read(self.chunks.read(), attempt, start, max_bytes).await?;
        match self.small_output_in() {
            Some(main) if chunks.is_empty() => Ok(sql::read(main, attempt, start, max_bytes).await?),
            _ => Ok(chunks),
        }
    }

    async fn output_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>> {
        let chunks = sql::index(self.chunks.read(), attempt, from_seq, limit).await?;
        match self.small_output_in() {
            Some(main) if chunks.is_empty() => Ok(sql::index(main, attempt, from_seq, limit).await?),
            _ => Ok(chunks),
        }
    }
}
