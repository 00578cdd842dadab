//! How much of an attempt may be under way, and what of it has arrived.
//!
//! # Units
//! Credit counts raw bytes: chunks before compression, as their headers say.

use std::collections::VecDeque;

/// The sending end of one attempt: bytes that are sent and not acknowledged stay below a credit.
///
/// Begin with the `next_seq` that the Welcome wants; it may be lower than an earlier acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    credit: u64,
    under_way: u64,
    /// First event after each chunk under way, and the chunk's bytes; in order.
    chunks: VecDeque<(u64, u64)>,
    next_seq: u64,
    acked: u64,
}

impl Window {
    /// Begins a link at this event with this credit.
    pub const fn new(next_seq: u64, credit: u64) -> Self {
        Self {
            credit,
            under_way: 0,
            chunks: VecDeque::new(),
            next_seq,
            acked: next_seq,
        }
    }

    /// Returns the first event that was not sent on this link.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Returns the first event that the other end does not have for good.
    pub const fn acked_seq(&self) -> u64 {
        self.acked
    }

    /// Returns the bytes that are sent and not acknowledged.
    pub const fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Says whether a chunk of so many bytes may be sent now. One that is larger than the whole credit may go when
    /// nothing else is under way: a small credit slows an attempt and never stops it.
    pub const fn may_send(&self, bytes: u64) -> bool {
        self.under_way == 0 || self.under_way.saturating_add(bytes) <= self.credit
    }

    /// Notes that a chunk was sent; `next_seq` is the first event after it.
    pub fn sent(&mut self, next_seq: u64, bytes: u64) {
        self.chunks.push_back((next_seq, bytes));
        self.under_way = self.under_way.saturating_add(bytes);
        self.next_seq = self.next_seq.max(next_seq);
    }

    /// Notes that everything below `next_seq` is durable there; returns the bytes that became free. An acknowledgement
    /// that says less than an earlier one changes nothing.
    pub fn acked(&mut self, next_seq: u64) -> u64 {
        self.acked = self.acked.max(next_seq);
        let mut freed: u64 = 0;
        while let Some((_, bytes)) = self.chunks.pop_front_if(|(end, _)| *end <= next_seq) {
            freed = freed.saturating_add(bytes);
        }
        self.under_way = self.under_way.saturating_sub(freed);
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What becomes of a window whose link is cut, and whose other end forgets, is asked of the store itself, in
    // `cloud/src/task/tests/window.rs`.

    #[test]
    fn a_full_window_opens_with_acknowledgements() {
        let mut window = Window::new(0, 100);
        assert!(window.may_send(60));
        window.sent(3, 60);
        assert!(!window.may_send(41));
        assert!(window.may_send(40));
        assert_eq!(window.acked(2), 0, "a chunk is free when all of it is there");
        assert_eq!(window.acked(3), 60);
        assert!(window.may_send(100));
        assert_eq!((window.under_way(), window.acked_seq(), window.next_seq()), (0, 3, 3));
    }

    #[test]
    fn a_chunk_above_the_credit_goes_alone() {
        let mut window = Window::new(0, 10);
        assert!(window.may_send(50));
        window.sent(1, 50);
        assert!(!window.may_send(1));
        window.acked(1);
        assert!(window.may_send(50));
    }

    #[test]
    fn a_late_lower_acknowledgement_changes_nothing() {
        let mut window = Window::new(0, 100);
        window.sent(5, 10);
        window.sent(9, 10);
        assert_eq!(window.acked(9), 20);
        assert_eq!(window.acked(5), 0);
        assert_eq!((window.under_way(), window.acked_seq()), (0, 9));
    }
}
