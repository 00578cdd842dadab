//! What the courier knows of one attempt. Pure.

use std::time::Duration;

use opslink::{pb::LogChunk, session::flow::Window};

use crate::launch::Phase;

/// What the courier knows of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    pub phase: Phase,
    pub window: Window,
    /// The journal may hold events beyond what was sent.
    pub more: bool,
    /// A chunk that was read and for which the window is too full.
    pub held: Option<LogChunk>,
    /// It is in the queue of attempts that take turns.
    pub queued: bool,
    /// Its journal could not be read: it takes no turns until its rest is over.
    pub rests: bool,
    /// Length of that rest, or of the last one; zero once its journal could be read.
    pub rest: Duration,
    /// The cloud wants nothing of it: it goes as soon as it has ended.
    pub doomed: bool,
}

impl Track {
    pub(super) fn new(phase: Phase) -> Self {
        let more = phase != Phase::Accepted;
        Self {
            phase,
            window: Window::new(0, 0),
            more,
            held: None,
            queued: false,
            rests: false,
            rest: Duration::ZERO,
            doomed: false,
        }
    }

    /// Begins a session: everything from `next_seq` on is sent (again).
    pub(super) fn rewind(&mut self, next_seq: u64, credit: u64) {
        self.window = Window::new(next_seq, credit);
        self.more = true;
        self.held = None;
    }

    /// Says whether it has something to send and its window is open for it, as far as is known before reading.
    pub(super) fn may_send(&self) -> bool {
        match &self.held {
            Some(chunk) => self.window.may_send(chunk.raw_size),
            None => self.more && !self.rests,
        }
    }
}
