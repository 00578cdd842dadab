//! Whose turn it is to send a chunk, and who rests since its journal could not be read.

use std::time::Duration;

use opslink::{
    id::AttemptId,
    pb::{AttachRequest, LogChunk, attach_request},
};

use super::{Courier, Output, frame};

/// First rest after a read that failed; each further one in a row is twice as long.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// Longest rest: a disk may get room again, or file descriptors come free, at any time.
const LONGEST_REST: Duration = Duration::from_secs(60);

impl Courier {
    /// The answer to [`Output::Read`]: the frame to send, if there is a chunk and its window is open.
    pub fn chunk(&mut self, id: AttemptId, chunk: Option<LogChunk>) -> Option<AttachRequest> {
        let track = self.attempts.get_mut(&id)?;
        track.rest = Duration::ZERO;
        let Some(chunk) = chunk else {
            track.more = false;
            return None;
        };
        if !track.window.may_send(chunk.raw_size) {
            track.held = Some(chunk);
            return None;
        }
        track
            .window
            .sent(chunk.first_seq.saturating_add(chunk.event_count.into()), chunk.raw_size);
        // After the end nothing follows.
        track.more = chunk.outcome.is_none();
        self.take_turn(id);
        Some(frame(attach_request::Frame::Chunk(chunk)))
    }

    /// The answer to [`Output::Read`] when the journal could not be read. What is there is still to be sent, and nobody
    /// may tell of it again: the attempt gets another turn after a rest.
    pub fn unreadable(&mut self, now: Duration, id: AttemptId) {
        let Some(track) = self.attempts.get_mut(&id) else {
            return;
        };
        track.rest = (track.rest * 2).clamp(SHORTEST_REST, LONGEST_REST);
        track.rests = true;
        self.resting.insert((now + track.rest, id));
    }

    /// Ends the rests that are over.
    pub fn wake(&mut self, now: Duration) {
        while let Some((until, id)) = self.resting.first().copied()
            && until <= now
        {
            self.resting.pop_first();
            if let Some(track) = self.attempts.get_mut(&id) {
                track.rests = false;
            }
            self.take_turn(id);
        }
    }

    /// Queues the attempt if it has something to send and its window is open.
    pub(super) fn take_turn(&mut self, id: AttemptId) {
        let Some(track) = self.attempts.get_mut(&id) else {
            return;
        };
        if track.may_send() && !track.queued && !track.doomed {
            track.queued = true;
            self.turns.push_back(id);
        }
    }

    /// What the next attempt in turn has: a chunk that was held back, or something to read.
    pub(super) fn next_turn(&mut self) -> Option<Output> {
        while let Some(id) = self.turns.pop_front() {
            let Some(track) = self.attempts.get_mut(&id) else {
                continue;
            };
            track.queued = false;
            let Some(held) = track.held.take() else {
                return Some(Output::Read(id, track.window.next_seq()));
            };
            if let Some(frame) = self.chunk(id, Some(held)) {
                return Some(Output::Frame(frame));
            }
        }
        None
    }
}
