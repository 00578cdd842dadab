//! The output half of a watch: stored chunks from each attempt's position on, then live ones. Of an attempt whose stored
//! output cannot be read nothing more is sent: what follows would be behind a gap.

use opslink::{chunk, id::AttemptId, pb};

use super::{End, Watch};
use crate::{
    store::record::{ChunkStart, Execution},
    tail::LiveChunk,
    task::{
        answer::Sent,
        attempts::{self, KEPT_MAX},
        heard,
        log::{chunk_pb, decode_or_tell, left_out},
        request::Output,
    },
};

/// Payload that is read from the store at once.
const READ_BYTES: usize = 256 << 10;

impl Watch {
    pub(super) async fn take_chunk(&mut self, live: &LiveChunk) -> Result<(), End> {
        let Some(seen) = self.seen.get(&live.agent_id) else {
            return Ok(());
        };
        let is_shown = self.all_attempts || seen.attempt == Some(live.attempt_id);
        if !self.has_output() || !seen.wanted || !is_shown || self.unreadable.contains(&live.attempt_id) {
            return Ok(());
        }
        let name = seen.name.clone();
        if live.chunk.first_seq > self.position(live.attempt_id) {
            // A commit whose answer was lost is not published; the store has it.
            self.read_output(live.attempt_id, &name, live.chunk.first_seq).await?;
            if self.unreadable.contains(&live.attempt_id) {
                return Ok(());
            }
        }
        self.send_chunk(live.attempt_id, &name, &live.chunk).await
    }

    /// Sends the stored output of these executions, up to what is stored now.
    pub(super) async fn catch_up_output(&mut self, executions: &[Execution]) -> Result<(), End> {
        if !self.has_output() {
            return Ok(());
        }
        for part in attempts::parts(executions, KEPT_MAX) {
            if self.all_attempts {
                self.know_attempts(part).await?;
            }
            self.catch_up_part(part).await?;
        }
        Ok(())
    }

    /// The same of executions whose attempts are known, if those are shown.
    async fn catch_up_part(&mut self, executions: &[Execution]) -> Result<(), End> {
        let mut wanted = Vec::with_capacity(executions.len());
        for execution in executions.iter().filter(|execution| self.is_wanted(execution)) {
            let older = self.attempts.of(execution).map(|attempt| attempt.id);
            let older = older.filter(|id| self.all_attempts && Some(*id) != execution.attempt_id);
            wanted.extend(
                older
                    .chain(execution.attempt_id)
                    .map(|id| (id, execution.agent_name.clone())),
            );
        }
        self.read_behind(wanted).await
    }

    /// Sends what is left of the output of an execution that has ended: all of it was published, as a rule, but nobody
    /// publishes a chunk that was stored by a commit whose answer was lost.
    pub(super) async fn send_rest(&mut self, execution: &Execution) -> Result<(), End> {
        match execution.attempt_id {
            Some(attempt)
                if execution.state.is_terminal() && self.is_wanted(execution) && !self.complete.contains(&attempt) =>
            {
                self.read_behind(vec![(attempt, execution.agent_name.clone())]).await
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn read_behind(&mut self, attempts: Vec<(AttemptId, String)>) -> Result<(), End> {
        if !self.has_output() || attempts.is_empty() {
            return Ok(());
        }
        let ids = attempts.iter().map(|(id, _)| *id);
        let ids = ids.filter(|id| !self.unreadable.contains(id)).collect();
        let ends = self.seated(heard::next_seqs(&self.store, ids)).await?;
        for (attempt, name) in attempts {
            if let Some(end) = ends.known.get(&attempt) {
                self.read_output(attempt, &name, *end).await?;
            } else if ends.unreadable.contains(&attempt) {
                self.leave_out(attempt, &name).await?;
            }
        }
        Ok(())
    }

    /// Sends stored output of an attempt from its position to `end`.
    async fn read_output(&mut self, attempt: AttemptId, name: &str, end: u64) -> Result<(), End> {
        let mut bytes = READ_BYTES;
        while self.position(attempt) < end {
            let start = ChunkStart::Seq(self.position(attempt));
            let chunks = match self.seated(self.store.chunk_read(attempt, start, bytes)).await {
                Ok(chunks) => chunks,
                Err(error) if error.may_pass() => return Err(error.into()),
                Err(_) if bytes > 1 => {
                    // One by one: what is before it is sent.
                    bytes = 1;
                    continue;
                }
                Err(error) => {
                    tracing::error!(attempt_id = %attempt, %error, "output is left out: it cannot be read");
                    return self.leave_out(attempt, name).await;
                }
            };
            if chunks.is_empty() {
                break;
            }
            for chunk in &chunks {
                if chunk.first_seq > self.position(attempt) {
                    return self.leave_out(attempt, name).await;
                }
                self.send_chunk(attempt, name, &chunk_pb(chunk)).await?;
            }
        }
        Ok(())
    }

    /// Says that nothing more of an attempt's output is sent.
    async fn leave_out(&mut self, attempt: AttemptId, name: &str) -> Result<(), End> {
        self.unreadable.insert(attempt);
        if self.output != Output::Events {
            return Ok(());
        }
        let first_seq = self.position(attempt);
        self.send(Sent::Events {
            attempt,
            agent_name: name.to_owned(),
            first_seq,
            events: vec![left_out(first_seq)],
        })
        .await
    }

    /// Sends a chunk unless the caller has it, and moves the position.
    async fn send_chunk(&mut self, attempt: AttemptId, name: &str, chunk: &pb::LogChunk) -> Result<(), End> {
        if chunk.outcome.is_some() {
            self.complete.insert(attempt);
        }
        let (position, next) = (self.position(attempt), chunk::next_seq(chunk));
        if next <= position {
            return Ok(());
        }
        let (place, message) = match self.output {
            Output::Nothing => return Ok(()),
            Output::Chunks => (self.out.place(chunk.payload.len()).await?, Sent::Chunk(chunk.clone())),
            Output::Events => {
                // Before it is decoded.
                let place = self.out.place_decoded(chunk).await?;
                let known = usize::try_from(position.saturating_sub(chunk.first_seq)).unwrap_or(usize::MAX);
                let events = decode_or_tell(chunk).await;
                self.out.weigh_decoded(chunk, &events).map_err(End::Failed)?;
                let events = Sent::Events {
                    attempt,
                    agent_name: name.to_owned(),
                    first_seq: chunk.first_seq.max(position),
                    events: events.into_iter().skip(known).collect(),
                };
                (place, events)
            }
        };
        self.positions.insert(attempt, next);
        place.put(Ok(message));
        Ok(())
    }
}
