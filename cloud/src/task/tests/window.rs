//! The window of a sender against what the store takes: whatever becomes of the link between the two, every chunk is stored
//! once and in order, and no more is under way than the credit says.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::FutureExt;
use opslink::{id::AttemptId, session::flow::Window, time::UnixMicros};
use proptest::{collection::vec, prelude::*};

use crate::store::{
    Store,
    memory::{MemoryStore, Snapshot},
    record::{Chunk, ChunkStart},
};

/// What happens to the link between the two ends.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Deliver,
    Ack,
    /// Everything under way is lost; the next link begins with a Welcome.
    Cut,
    /// The store forgets its newest chunks, as after a database failover; then a cut.
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

/// What takes the chunks of one attempt.
struct Cloud {
    attempt: AttemptId,
    memory: MemoryStore,
    store: Store,
    /// As it was before each chunk that it has.
    before: Vec<Snapshot>,
}

impl Cloud {
    fn new() -> Self {
        let memory = MemoryStore::new();
        Self {
            attempt: AttemptId::new(),
            store: Store::from(memory.clone()),
            memory,
            before: Vec::new(),
        }
    }

    /// What a Welcome says is wanted. The store in memory never waits.
    fn next_seq(&self) -> u64 {
        let attempts = [self.attempt];
        let asked = self.store.chunk_next_seq(&attempts).now_or_never();
        asked.expect("at once").expect("an answer")[0]
    }

    /// Takes a chunk; returns what is acknowledged, which is what the store says (`settle` in `ingest.rs`).
    fn take(&mut self, chunk: Chunk) -> u64 {
        let (before, end) = (self.memory.snapshot(), chunk.next_seq());
        let appended = self.store.chunk_append(vec![chunk]).now_or_never();
        let appended = appended.expect("at once").expect("an answer")[0];
        if appended.stored {
            self.before.push(before);
        }
        // On a link that keeps order nothing is missing, and nothing overlaps: what is not stored is there already.
        assert!(
            appended.stored || appended.next_seq >= end,
            "{appended:?} for the one before {end}"
        );
        appended.next_seq
    }

    fn forget(&mut self, newest: usize) {
        let kept = self.before.len().saturating_sub(newest);
        if let Some(then) = self.before.drain(kept..).next() {
            self.memory.restore(then);
        }
    }

    fn stored(&self) -> Vec<Chunk> {
        let read = self.store.chunk_read(self.attempt, ChunkStart::Seq(0), usize::MAX);
        read.now_or_never().expect("at once").expect("an answer")
    }
}

/// Chunks of so many events and bytes, one after the other.
fn journal(attempt: AttemptId, chunks: &[(u32, u64)]) -> Vec<Chunk> {
    let mut first_seq = 0;
    let chunk = |(event_count, raw_size): &(u32, u64)| {
        let chunk = Chunk {
            attempt_id: attempt,
            first_seq,
            event_count: *event_count,
            first_line: 0,
            line_count: 0,
            raw_size: *raw_size,
            first_time: UnixMicros(1),
            last_time: UnixMicros(2),
            codec: 1,
            payload: Bytes::from_static(b"x"),
            outcome: None,
        };
        first_seq = chunk.next_seq();
        chunk
    };
    chunks.iter().map(chunk).collect()
}

proptest! {
    #[test]
    fn every_chunk_is_stored_once_and_in_order_whatever_happens_to_the_link(
        chunks in vec((1..5_u32, 1..50_u64), 1..30), steps in vec(any_step(), 0..300), credit in 1..120_u64,
    ) {
        let mut cloud = Cloud::new();
        let journal = journal(cloud.attempt, &chunks);
        let mut window = Window::new(0, credit);
        // End and bytes of what was sent and not acknowledged.
        let mut under_way: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
        // After all luck has run out, the link works until everything is there.
        let calm = [Step::Send, Step::Deliver, Step::Ack].into_iter().cycle().take(journal.len() * 6);
        for step in steps.into_iter().chain([Step::Cut]).chain(calm) {
            match step {
                Step::Send => {
                    let next = journal.iter().find(|chunk| chunk.first_seq == window.next_seq());
                    if let Some(chunk) = next.filter(|chunk| window.may_send(chunk.raw_size)) {
                        window.sent(chunk.next_seq(), chunk.raw_size);
                        under_way.push_back((chunk.next_seq(), chunk.raw_size));
                        there.push_back(chunk.clone());
                    }
                }
                Step::Deliver => {
                    if let Some(chunk) = there.pop_front() {
                        back.push_back(cloud.take(chunk));
                    }
                }
                Step::Ack => {
                    if let Some(next_seq) = back.pop_front() {
                        window.acked(next_seq);
                        under_way.retain(|(end, _)| *end > next_seq);
                    }
                }
                Step::Cut | Step::Regress(_) => {
                    if let Step::Regress(newest) = step {
                        cloud.forget(newest);
                    }
                    there.clear();
                    back.clear();
                    under_way.clear();
                    window = Window::new(cloud.next_seq(), credit);
                }
            }
            let sum: u64 = under_way.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(window.under_way(), sum);
            prop_assert!(sum <= credit || under_way.len() == 1);
            prop_assert!(window.acked_seq() <= window.next_seq());
        }
        prop_assert_eq!(cloud.stored(), journal);
        prop_assert_eq!(window.under_way(), 0);
    }
}
