//! Tells a copied agent from a restarted one. Pure: the time is an argument.
//!
//! Every process of an agent has a nonce. A restart brings a new one and the old one never comes back. Two processes with
//! one identity take the link from each other, so nonces that were replaced come back, again and again. One return can
//! be a Hello that was on its way for long; the second one cannot.
//!
//! ```text
//! A restarts:  A A B B        none comes back
//! A is copied: A B A B        A comes back, B comes back: both are kept out
//! ```
//!
//! Both, because nobody here can tell which is the right one. They are let in again when only one of them has come for a
//! while: the other was stopped, or joined anew.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::Duration,
};

use opslink::{id::AgentId, time::UnixMicros};

/// How long a process counts as alive after it came. Agents that are kept out come every 2.5 to 7.5 minutes.
pub(crate) const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Processes that are remembered of one agent. More copies than that are still more than one.
const PROCESSES_MAX: usize = 4;

/// What is to be done with an agent that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the only one of its kind.
    Single,
    /// It was just found out that there are two: to be told once.
    FoundTwo,
    /// There are still two.
    StillTwo,
}

/// The processes of every agent that came lately.
#[derive(Debug, Default)]
pub(crate) struct Lineages {
    agents: HashMap<AgentId, Lineage>,
}

#[derive(Debug, Default)]
struct Lineage {
    /// In the order of their last coming; a hash, since a nonce is whatever the agent says.
    processes: Vec<(u64, UnixMicros)>,
    /// When a process that was replaced came back.
    returns: Vec<UnixMicros>,
    kept_out: bool,
}

impl Lineages {
    /// Notes that a process of this agent came.
    pub(crate) fn arrive(&mut self, agent: AgentId, nonce: &str, now: UnixMicros) -> Verdict {
        // Also an empty one: who copied an identity and says nothing is one process more.
        let mut hasher = DefaultHasher::new();
        nonce.hash(&mut hasher);
        self.agents.entry(agent).or_default().arrive(hasher.finish(), now)
    }

    /// Says whether an agent is kept out.
    pub(crate) fn is_kept_out(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|lineage| lineage.kept_out)
    }

    /// Keeps an agent out that was found to be two by other means; `mark` stands for the one that is not here.
    pub(crate) fn keep_out(&mut self, agent: AgentId, mark: &str, now: UnixMicros) {
        let mut hasher = DefaultHasher::new();
        (mark, "not a nonce").hash(&mut hasher);
        let lineage = self.agents.entry(agent).or_default();
        lineage.kept_out = true;
        let absent = hasher.finish();
        lineage.processes.retain(|(process, _)| *process != absent);
        lineage.processes.truncate(PROCESSES_MAX - 1);
        lineage.processes.push((absent, now));
    }

    /// Forgets an agent: it was removed.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
    }

    /// Says how many agents are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }
}

impl Lineage {
    fn arrive(&mut self, process: u64, now: UnixMicros) -> Verdict {
        self.processes.retain(|(_, came)| now.since(*came) < MEMORY);
        self.returns.retain(|returned| now.since(*returned) < MEMORY);
        let is_newest = self.processes.last().is_some_and(|(newest, _)| *newest == process);
        let known = self.processes.iter().position(|(known, _)| *known == process);
        if let Some(at) = known {
            self.processes.remove(at);
            if !is_newest {
                self.returns.push(now);
            }
        } else if self.processes.len() >= PROCESSES_MAX {
            self.processes.remove(0);
        }
        self.processes.push((process, now));
        if self.kept_out {
            if self.processes.len() > 1 {
                return Verdict::StillTwo;
            }
            *self = Self {
                processes: std::mem::take(&mut self.processes),
                ..Self::default()
            };
            return Verdict::Single;
        }
        if self.returns.len() >= 2 {
            self.kept_out = true;
            return Verdict::FoundTwo;
        }
        Verdict::Single
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who comes at which minute, and what is said.
    fn play(coming: &[(&str, u64)]) -> Vec<Verdict> {
        let (mut lineages, agent) = (Lineages::default(), AgentId::new());
        coming
            .iter()
            .map(|(nonce, minute)| {
                let now = UnixMicros(0).plus(Duration::from_secs(minute * 60));
                lineages.arrive(agent, nonce, now)
            })
            .collect()
    }

    use Verdict::{FoundTwo, Single, StillTwo};

    #[test]
    fn restarts_and_redials_are_single() {
        let coming = [
            ("a", 0),
            ("a", 1),
            ("b", 2),
            ("b", 2),
            ("c", 3),
            ("d", 3),
            ("e", 4),
            ("f", 5),
            ("f", 90),
        ];
        assert_eq!(play(&coming), [Single; 9]);
    }

    #[test]
    fn a_late_hello_of_a_process_that_is_gone_is_forgiven() {
        assert_eq!(play(&[("a", 0), ("b", 1), ("a", 1), ("b", 30), ("b", 31)]), [Single; 5]);
    }

    #[test]
    fn two_that_take_turns_are_found_and_told_once() {
        let coming = [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 7)];
        assert_eq!(play(&coming), [Single, Single, Single, FoundTwo, StillTwo, StillTwo]);
    }

    #[test]
    fn the_one_that_is_left_is_let_in_again_and_a_new_copy_is_found_again() {
        let coming = [
            ("a", 0),
            ("b", 0),
            ("a", 0),
            ("b", 0),
            // The copy is stopped; the other goes on asking.
            ("a", 5),
            ("a", 10),
            ("a", 16),
            ("a", 17),
            ("c", 18),
            ("a", 18),
            ("c", 18),
        ];
        assert_eq!(
            play(&coming),
            [
                Single, Single, Single, FoundTwo, StillTwo, StillTwo, Single, Single, Single, Single, FoundTwo
            ]
        );
    }

    #[test]
    fn a_restart_does_not_help_a_copy() {
        let coming = [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("c", 3), ("b", 4), ("d", 8)];
        assert_eq!(play(&coming)[3..], [FoundTwo, StillTwo, StillTwo, StillTwo]);
    }

    #[test]
    fn who_was_found_by_its_certificate_is_kept_out_and_let_in_again() {
        let (mut lineages, agent) = (Lineages::default(), AgentId::new());
        let at = |minute: u64| UnixMicros(0).plus(Duration::from_secs(minute * 60));
        assert_eq!(lineages.arrive(agent, "a", at(0)), Single);
        lineages.keep_out(agent, "serial", at(1));
        assert_eq!(lineages.arrive(agent, "a", at(2)), StillTwo);
        assert_eq!(lineages.arrive(agent, "a", at(10)), StillTwo);
        assert_eq!(lineages.arrive(agent, "a", at(17)), Single);
    }

    #[test]
    fn agents_are_judged_apart_and_many_processes_are_bounded() {
        let mut lineages = Lineages::default();
        let (one, other) = (AgentId::new(), AgentId::new());
        for n in 0..1000 {
            let nonce = n.to_string();
            assert_eq!(lineages.arrive(one, &nonce, UnixMicros(n)), Single);
            assert_eq!(lineages.arrive(other, &nonce, UnixMicros(n)), Single);
        }
        assert_eq!(lineages.agents[&one].processes.len(), PROCESSES_MAX);
    }

    #[test]
    fn who_says_nothing_is_a_process_too() {
        let coming = [("a", 0), ("", 0), ("a", 0), ("", 0), ("a", 1)];
        assert_eq!(play(&coming), [Single, Single, Single, FoundTwo, StillTwo]);
        assert_eq!(
            play(&[("", 0), ("", 1), ("", 2)]),
            [Single; 3],
            "and is told apart from itself by nobody"
        );
    }
}
