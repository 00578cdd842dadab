//! Output that is refused again and again: its agent has nothing else to send of that attempt, and would come back with
//! the same for as long as it lives. After a few times the attempt is given up: it ends as lost, and its agent is told
//! that nothing more of it is wanted.
//!
//! Counted in memory: after a restart an attempt has its few times again.

use dashmap::DashMap;
use opslink::id::AttemptId;

/// So often the same chunk is refused, with nothing taken in between, before its attempt is given up.
const TIMES: u32 = 3;

/// Attempts that are counted; with more, all are counted anew.
const COUNTED_MAX: usize = 10_000;

/// The first chunk of an attempt that is refused, and how often it was.
#[derive(Debug)]
struct Refused {
    first_seq: u64,
    times: u32,
}

/// How often output was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(DashMap<AttemptId, Refused>);

impl Refusals {
    /// Notes a refusal of the chunk that begins at this event. What comes behind it is refused because of it, and
    /// counts nothing. True when the attempt is given up.
    pub(super) fn note(&self, attempt: AttemptId, first_seq: u64) -> bool {
        if self.0.len() >= COUNTED_MAX {
            self.0.clear();
        }
        let mut refused = self.0.entry(attempt).or_insert(Refused { first_seq, times: 0 });
        if first_seq < refused.first_seq {
            *refused = Refused { first_seq, times: 0 };
        }
        if first_seq == refused.first_seq {
            refused.times = refused.times.saturating_add(1);
        }
        refused.times >= TIMES
    }

    /// Notes that output of the attempt was taken, up to this event: what was refused before it counts no more.
    pub(super) fn taken(&self, attempt: AttemptId, next_seq: u64) {
        if !self.0.is_empty() {
            self.0.remove_if(&attempt, |_, refused| refused.first_seq < next_seq);
        }
    }

    /// Says whether nothing more of the attempt is wanted.
    pub(super) fn has_given_up(&self, attempt: AttemptId) -> bool {
        self.0.get(&attempt).is_some_and(|refused| refused.times >= TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_chunk_three_times_gives_its_attempt_up_and_nothing_else_does() {
        let (refusals, attempt, other) = (Refusals::default(), AttemptId::new(), AttemptId::new());
        // What follows the refused one in the same link is behind a gap.
        assert!(!refusals.note(attempt, 5) && !refusals.note(attempt, 6) && !refusals.note(attempt, 7));
        assert!(!refusals.note(attempt, 5) && !refusals.note(attempt, 6));
        assert!(!refusals.has_given_up(attempt));
        assert!(refusals.note(attempt, 5) && refusals.has_given_up(attempt));
        assert!(!refusals.has_given_up(other));

        // A store that was set back: the agent is asked for what it has lost, and sends that.
        assert!(!refusals.note(other, 50) && !refusals.note(other, 51));
        refusals.taken(other, 50);
        refusals.taken(other, 51);
        assert!(!refusals.note(other, 51) && !refusals.note(other, 51));
        assert!(!refusals.note(other, 40), "another one is refused now");
        assert!(!refusals.has_given_up(other));
    }
}
