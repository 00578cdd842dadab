//! Output that is refused again and again: its agent has nothing else to send of that attempt, and would come back with
//! the same for as long as it lives. After a few times the attempt is given up: it ends as lost, and its agent is told
//! that nothing more of it is wanted.
//!
//! Counted in memory: after a restart an attempt has its few times again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use opslink::id::{AgentId, AttemptId};

use super::newest::Newest;

/// So often the same chunk is refused, with nothing taken in between, before its attempt is given up.
const TIMES: u32 = 3;

/// Attempts that are counted; for one more the one that was refused longest ago is forgotten.
const COUNTED_MAX: usize = 10_000;
/// The same of one agent, so that one of which everything is refused makes few others be forgotten: four times its slots.
const OF_ONE_MAX: usize = 256;

/// The first chunk of an attempt that is refused, and how often it was.
#[derive(Debug, Clone, Copy)]
struct Refused {
    first_seq: u64,
    times: u32,
}

/// How often output was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    agents: Newest<AttemptId, AgentId>,
    of_agents: HashMap<AgentId, Newest<AttemptId, Refused>>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            agents: Newest::of(COUNTED_MAX),
            of_agents: HashMap::new(),
        }
    }
}

impl Counted {
    fn get(&self, attempt: AttemptId) -> Option<Refused> {
        let agent = self.agents.get(attempt)?;
        self.of_agents.get(agent)?.get(attempt).copied()
    }

    fn put(&mut self, agent: AgentId, attempt: AttemptId, refused: Refused) {
        self.remove(attempt);
        let of_agent = self.of_agents.entry(agent).or_insert_with(|| Newest::of(OF_ONE_MAX));
        if let Some((forgotten, _)) = of_agent.put(attempt, refused) {
            self.agents.remove(forgotten);
        }
        if let Some((forgotten, whose)) = self.agents.put(attempt, agent) {
            self.take_out(whose, forgotten);
        }
    }

    fn remove(&mut self, attempt: AttemptId) {
        if let Some(whose) = self.agents.remove(attempt) {
            self.take_out(whose, attempt);
        }
    }

    fn take_out(&mut self, agent: AgentId, attempt: AttemptId) {
        if let Some(of_agent) = self.of_agents.get_mut(&agent) {
            of_agent.remove(attempt);
            if of_agent.is_empty() {
                self.of_agents.remove(&agent);
            }
        }
    }
}

impl Refusals {
    /// Notes a refusal of the chunk of this agent that begins at this event. What comes behind it is refused because of it,
    /// and counts nothing. True when the attempt is given up.
    pub(super) fn note(&self, agent: AgentId, attempt: AttemptId, first_seq: u64) -> bool {
        let mut counted = self.counted();
        let known = counted.get(attempt).filter(|known| known.first_seq <= first_seq);
        let mut refused = known.unwrap_or(Refused { first_seq, times: 0 });
        if first_seq == refused.first_seq {
            refused.times = refused.times.saturating_add(1);
        }
        counted.put(agent, attempt, refused);
        refused.times >= TIMES
    }

    /// Notes that output of the attempt was taken, up to this event: what was refused before it counts no more.
    pub(super) fn taken(&self, attempt: AttemptId, next_seq: u64) {
        let mut counted = self.counted();
        if counted.get(attempt).is_some_and(|refused| refused.first_seq < next_seq) {
            counted.remove(attempt);
        }
    }

    /// Says whether nothing more of the attempt is wanted.
    pub(super) fn has_given_up(&self, attempt: AttemptId) -> bool {
        self.counted()
            .get(attempt)
            .is_some_and(|refused| refused.times >= TIMES)
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_chunk_three_times_gives_its_attempt_up_and_nothing_else_does() {
        let (refusals, agent) = (Refusals::default(), AgentId::new());
        let (attempt, other) = (AttemptId::new(), AttemptId::new());
        // What follows the refused one in the same link is behind a gap.
        assert!(
            !refusals.note(agent, attempt, 5) && !refusals.note(agent, attempt, 6) && !refusals.note(agent, attempt, 7)
        );
        assert!(!refusals.note(agent, attempt, 5) && !refusals.note(agent, attempt, 6));
        assert!(!refusals.has_given_up(attempt));
        assert!(refusals.note(agent, attempt, 5) && refusals.has_given_up(attempt));
        assert!(!refusals.has_given_up(other));

        // A store that was set back: the agent is asked for what it has lost, and sends that.
        assert!(!refusals.note(agent, other, 50) && !refusals.note(agent, other, 51));
        refusals.taken(other, 50);
        refusals.taken(other, 51);
        assert!(!refusals.note(agent, other, 51) && !refusals.note(agent, other, 51));
        assert!(!refusals.note(agent, other, 40), "another one is refused now");
        assert!(!refusals.has_given_up(other));
    }

    #[test]
    fn an_agent_of_which_everything_is_refused_makes_nobody_else_be_forgotten() {
        let (refusals, flooded, other) = (Refusals::default(), AgentId::new(), AgentId::new());
        let attempt = AttemptId::new();
        assert!(!refusals.note(other, attempt, 5) && !refusals.note(other, attempt, 5));
        for _ in 0..2 * COUNTED_MAX {
            refusals.note(flooded, AttemptId::new(), 0);
        }
        assert!(refusals.note(other, attempt, 5), "it was refused twice before");
        let counted = refusals.counted();
        let of = |agent: &AgentId| counted.of_agents.get(agent).map(Newest::len);
        assert_eq!((of(&flooded), of(&other)), (Some(OF_ONE_MAX), Some(1)));
        assert_eq!(counted.agents.len(), OF_ONE_MAX + 1);
    }

    #[test]
    fn of_very_many_agents_the_one_that_was_refused_longest_ago_is_forgotten() {
        let refusals = Refusals::default();
        let all: Vec<_> = (0..=COUNTED_MAX).map(|_| (AgentId::new(), AttemptId::new())).collect();
        for (agent, attempt) in &all {
            assert!(!refusals.note(*agent, *attempt, 5));
        }
        for (number, expected) in [(1, false), (1, true), (0, false), (0, false)] {
            let (agent, attempt) = all[number];
            assert_eq!(refusals.note(agent, attempt, 5), expected, "{number}");
        }
        assert_eq!(refusals.counted().of_agents.len(), COUNTED_MAX);
        for (_, attempt) in &all {
            refusals.taken(*attempt, 6);
        }
        let counted = refusals.counted();
        assert!(counted.agents.is_empty() && counted.of_agents.is_empty());
    }
}
