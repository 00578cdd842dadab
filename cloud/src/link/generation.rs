//! Tells a copied key by the certificates that it leads to. Pure: nothing is asked, the time is in the certificates.
//!
//! Each renewal makes the next certificate of a line; an honest agent goes along it and never back. Who copied the key
//! renews from the same certificate as the agent itself, so the line forks, and sooner or later one of the two comes with
//! a certificate that is not on it.
//!
//! ```text
//! A ──► B          B is the newest; A may still come until B was seen: its answer may have been lost
//! A ──► B, A ──► C before B was seen: the first answer was lost, C is the newest; whoever has B is a copy
//! A again, after B was seen: a copy
//! ```
//!
//! A certificate that is newer than the newest that is known was issued by this cloud and forgotten (a restart, a
//! database that lost its last seconds): it is believed.

use std::collections::HashMap;

use opslink::id::AgentId;

use crate::pki::AgentIdentity;

/// What the lines of all agents look like.
#[derive(Debug, Default)]
pub(super) struct Generations {
    agents: HashMap<AgentId, Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    newest: String,
    not_before: i64,
    /// It was shown, so its agent has it.
    seen: bool,
    before: Option<String>,
}

impl Generations {
    /// Notes that an agent came with this certificate; false when it is a copy's.
    pub(super) fn arrive(&mut self, shown: &AgentIdentity) -> bool {
        let line = self.agents.entry(shown.agent_id).or_insert_with(|| Line::of(shown));
        if line.newest == shown.serial {
            line.seen = true;
            return true;
        }
        if line.before.as_deref() == Some(&shown.serial) && !line.seen {
            return true;
        }
        if shown.not_before > line.not_before {
            *line = Line::of(shown);
            return true;
        }
        false
    }

    /// Notes that the next certificate was issued for this one; false when it is a copy that asks.
    pub(super) fn renew(&mut self, shown: &AgentIdentity, next: &AgentIdentity) -> bool {
        if !self.arrive(shown) {
            return false;
        }
        self.agents.insert(
            shown.agent_id,
            Line {
                before: Some(shown.serial.clone()),
                seen: false,
                ..Line::of(next)
            },
        );
        true
    }

    /// Forgets an agent: it was removed, or its line begins anew.
    pub(super) fn forget(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
    }

    /// Says how many agents are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }
}

impl Line {
    fn of(certificate: &AgentIdentity) -> Self {
        Self {
            newest: certificate.serial.clone(),
            not_before: certificate.not_before,
            seen: true,
            before: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Play {
        generations: Generations,
        agent: AgentId,
    }

    impl Play {
        fn new() -> Self {
            Self {
                generations: Generations::default(),
                agent: AgentId::new(),
            }
        }

        fn certificate(&self, (serial, not_before): (&str, i64)) -> AgentIdentity {
            AgentIdentity {
                agent_id: self.agent,
                serial: serial.to_owned(),
                not_before,
                not_after: not_before + 86_400,
            }
        }

        fn arrive(&mut self, shown: (&str, i64)) -> bool {
            let shown = self.certificate(shown);
            self.generations.arrive(&shown)
        }

        fn renew(&mut self, shown: (&str, i64), next: (&str, i64)) -> bool {
            let (shown, next) = (self.certificate(shown), self.certificate(next));
            self.generations.renew(&shown, &next)
        }
    }

    const A: (&str, i64) = ("a", 1);
    const B: (&str, i64) = ("b", 10);
    const C: (&str, i64) = ("c", 20);

    #[test]
    fn an_agent_that_renews_and_redials_is_one() {
        let mut play = Play::new();
        assert!(play.arrive(A) && play.renew(A, B) && play.arrive(B) && play.arrive(B) && play.renew(B, C));
        // The link that was opened with B lives on, and redials before C is on disk.
        assert!(play.arrive(B) && play.arrive(C));
    }

    #[test]
    fn an_answer_that_was_lost_costs_nothing() {
        let mut play = Play::new();
        assert!(play.arrive(A) && play.renew(A, B) && play.arrive(A) && play.renew(A, C) && play.arrive(C));
    }

    #[test]
    fn whoever_renews_from_a_certificate_that_was_replaced_is_a_copy() {
        let mut play = Play::new();
        assert!(play.arrive(A) && play.renew(A, B) && play.arrive(B));
        assert!(!play.renew(A, C), "twice from one generation");
        assert!(!play.arrive(A));
    }

    #[test]
    fn of_two_renewals_from_one_generation_the_older_is_found_when_it_comes() {
        let mut play = Play::new();
        assert!(play.arrive(A) && play.renew(A, B) && play.renew(A, C) && play.arrive(C));
        assert!(!play.arrive(B));
    }

    #[test]
    fn what_a_restart_forgot_is_believed_if_it_is_newer() {
        let mut play = Play::new();
        assert!(play.arrive(A));
        assert!(play.arrive(C), "issued by this cloud, and newer");
        assert!(!play.arrive(B), "older than what is known, and not before it");
        play.generations.forget(play.agent);
        assert!(play.arrive(B));
    }
}
