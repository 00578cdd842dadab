//! The output half of a watch: stored chunks from each attempt's position on, then live ones.

use opslink::{chunk, id::AttemptId, pb, pb::watch_task_response::Event as Sent};

use super::{End, Watch};
use crate::{
    store::record::{ChunkStart, Execution},
    tail::LiveChunk,
    task::{log::decode, view::chunk_pb},
};

/// Payload that is read from the store at once.
const READ_BYTES: usize = 2 << 20;

impl Watch {
    pub(super) async fn take_chunk(&mut self, live: &LiveChunk) -> Result<(), End> {
        let Some(seen) = self.seen.get(&live.agent_id) else {
            return Ok(());
        };
        let is_shown = self.all_attempts || seen.attempt == Some(live.attempt_id);
        if !self.has_output() || !seen.wanted || !is_shown {
            return Ok(());
        }
        let name = seen.name.clone();
        if live.chunk.first_seq > self.position(live.attempt_id) {
            // Cannot be, as long as whatever is committed is published; then the store has it.
            self.read_output(live.attempt_id, &name, live.chunk.first_seq).await?;
        }
        self.send_chunk(live.attempt_id, &name, &live.chunk).await
    }

    /// Sends the stored output of these executions, up to what is stored now.
    pub(super) async fn catch_up_output(&mut self, executions: &[Execution]) -> Result<(), End> {
        if !self.has_output() {
            return Ok(());
        }
        let mut wanted = Vec::with_capacity(executions.len());
        for execution in executions.iter().filter(|execution| self.is_wanted(execution)) {
            let older = self.attempts.of(execution).iter().map(|attempt| attempt.id);
            let older = older.filter(|id| self.all_attempts && Some(*id) != execution.attempt_id);
            wanted.extend(
                older
                    .chain(execution.attempt_id)
                    .map(|id| (id, execution.agent_name.clone())),
            );
        }
        self.read_behind(wanted).await
    }

    pub(super) async fn read_behind(&mut self, attempts: Vec<(AttemptId, String)>) -> Result<(), End> {
        if !self.has_output() || attempts.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = attempts.iter().map(|(id, _)| *id).collect();
        let ends = self.engine.store.chunk_next_seq(&ids).await?;
        for ((attempt, name), end) in attempts.into_iter().zip(ends) {
            self.read_output(attempt, &name, end).await?;
        }
        Ok(())
    }

    /// Sends stored output of an attempt from its position to `end`.
    async fn read_output(&mut self, attempt: AttemptId, name: &str, end: u64) -> Result<(), End> {
        while self.position(attempt) < end {
            let start = ChunkStart::Seq(self.position(attempt));
            let chunks = self.engine.store.chunk_read(attempt, start, READ_BYTES).await?;
            if chunks.is_empty() {
                break;
            }
            for chunk in &chunks {
                self.send_chunk(attempt, name, &chunk_pb(chunk)).await?;
            }
        }
        Ok(())
    }

    /// Sends a chunk unless the caller has it, and moves the position.
    async fn send_chunk(&mut self, attempt: AttemptId, name: &str, chunk: &pb::LogChunk) -> Result<(), End> {
        let (position, next) = (self.position(attempt), chunk::next_seq(chunk));
        if next <= position {
            return Ok(());
        }
        let message = match self.output {
            pb::OutputMode::Unspecified => return Ok(()),
            pb::OutputMode::Chunks => Sent::Chunk(chunk.clone()),
            pb::OutputMode::Events => {
                let known = usize::try_from(position.saturating_sub(chunk.first_seq)).unwrap_or(usize::MAX);
                let events = decode(chunk.clone()).await.map_err(End::Failed)?;
                Sent::Events(pb::AttemptEvents {
                    attempt_id: attempt.to_string(),
                    agent_name: name.to_owned(),
                    first_seq: chunk.first_seq.max(position),
                    events: events.into_iter().skip(known).collect(),
                })
            }
        };
        self.positions.insert(attempt, next);
        self.send(message).await
    }
}
