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

    /// Raises the credit.
    pub const fn granted(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
    }
}

/// The receiving end of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receiver {
    next_seq: u64,
}

/// What a chunk means to the receiving end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It is the next one: store it.
    Next,
    /// It was stored before: acknowledge again.
    Duplicate,
    /// It begins before and ends after what is stored. Chunks are never cut anew, so the sender has lost its journal.
    Overlap,
    /// Something before it is missing: the sender must go back to what is wanted.
    Gap,
}

impl Receiver {
    /// Begins with everything below `next_seq` stored.
    pub const fn new(next_seq: u64) -> Self {
        Self { next_seq }
    }

    /// Returns the first event that is not here.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Judges a chunk, and takes it when it is the next.
    pub fn offer(&mut self, first_seq: u64, event_count: u32) -> Offer {
        let end = first_seq.saturating_add(event_count.into());
        if first_seq > self.next_seq {
            Offer::Gap
        } else if end <= self.next_seq {
            Offer::Duplicate
        } else if first_seq < self.next_seq {
            Offer::Overlap
        } else {
            self.next_seq = end;
            Offer::Next
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_full_window_opens_with_acknowledgements_and_grants() {
        let mut window = Window::new(0, 100);
        assert!(window.may_send(60));
        window.sent(3, 60);
        assert!(!window.may_send(41));
        assert!(window.may_send(40));
        window.granted(1);
        assert!(window.may_send(41));
        assert_eq!(window.acked(2), 0, "a chunk is free when all of it is there");
        assert_eq!(window.acked(3), 60);
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

    #[test]
    fn chunks_are_judged_by_their_place() {
        let mut receiver = Receiver::new(10);
        assert_eq!(receiver.offer(11, 1), Offer::Gap);
        assert_eq!(receiver.offer(8, 2), Offer::Duplicate);
        assert_eq!(receiver.offer(8, 3), Offer::Overlap);
        assert_eq!(receiver.offer(10, 5), Offer::Next);
        assert_eq!(receiver.offer(10, 5), Offer::Duplicate);
        assert_eq!(receiver.next_seq(), 15);
    }

    /// What happens to the link between the two ends.
    #[derive(Debug, Clone)]
    enum Step {
        Send,
        Deliver,
        Ack,
        /// Everything under way is lost; the next link begins with a Welcome.
        Cut,
        /// The receiver's store forgets its newest chunks, as after a database failover; then a cut.
        Regress(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::Send),
            6 => Just(Step::Deliver),
            4 => Just(Step::Ack),
            1 => Just(Step::Cut),
            1 => (0..4_usize).prop_map(Step::Regress),
        ]
    }

    proptest! {
        #[test]
        fn every_chunk_arrives_once_in_order_whatever_happens_to_the_link(
            chunks in vec((1..5_u32, 1..50_u64), 1..30), steps in vec(any_step(), 0..300), credit in 1..120_u64,
        ) {
            let mut journal = Vec::new();
            let mut seq = 0;
            for (count, bytes) in &chunks {
                journal.push((seq, *count, *bytes));
                seq += u64::from(*count);
            }
            let mut window = Window::new(0, credit);
            let mut receiver = Receiver::default();
            let mut stored: Vec<(u64, u32, u64)> = Vec::new();
            let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
            // After all luck has run out, the link works until everything is there.
            let calm = [Step::Send, Step::Deliver, Step::Ack].into_iter().cycle().take(journal.len() * 6);
            for step in steps.into_iter().chain([Step::Cut]).chain(calm) {
                match step {
                    Step::Send => {
                        let next = journal.iter().find(|(first, ..)| *first == window.next_seq());
                        if let Some(chunk) = next.filter(|chunk| window.may_send(chunk.2)) {
                            window.sent(chunk.0 + u64::from(chunk.1), chunk.2);
                            there.push_back(*chunk);
                        }
                    }
                    Step::Deliver => {
                        if let Some(chunk) = there.pop_front() {
                            match receiver.offer(chunk.0, chunk.1) {
                                Offer::Next => stored.push(chunk),
                                Offer::Duplicate => {}
                                other => prop_assert!(false, "{other:?} on an ordered link"),
                            }
                            back.push_back(receiver.next_seq());
                        }
                    }
                    Step::Ack => {
                        if let Some(next_seq) = back.pop_front() {
                            window.acked(next_seq);
                        }
                    }
                    Step::Cut | Step::Regress(_) => {
                        if let Step::Regress(lost) = step {
                            stored.truncate(stored.len().saturating_sub(lost));
                            let next_seq = stored.last().map_or(0, |chunk| chunk.0 + u64::from(chunk.1));
                            receiver = Receiver::new(next_seq);
                        }
                        there.clear();
                        back.clear();
                        window = Window::new(receiver.next_seq(), credit);
                    }
                }
                let sum: u64 = window.chunks.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(window.under_way(), sum);
                prop_assert!(window.under_way() <= credit || window.chunks.len() == 1);
                prop_assert!(window.acked_seq() <= window.next_seq());
            }
            prop_assert_eq!(stored, journal);
            prop_assert_eq!(window.under_way(), 0);
        }
    }
}
