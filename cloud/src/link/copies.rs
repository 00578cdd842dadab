//! What the registry says about copied agents: by their processes (`lineage`) and by their certificates (`generation`).

use std::sync::{MutexGuard, PoisonError};

use opslink::{id::AgentId, problem::Problem, reason::Reason, time::UnixMicros};

use super::{Arrival, Links, Verdict, generation::Generations, lineage::Lineages};
use crate::pki::AgentIdentity;

impl Links {
    /// Notes that an agent shows this certificate. A copy's is refused, and agent and copy are both kept out: nobody
    /// here can tell which of the two is the right one.
    ///
    /// # Errors
    /// `AGENT_CLONED`.
    pub fn shows(&self, certificate: &AgentIdentity, now: UnixMicros) -> Result<(), Problem> {
        let good = self.generations().arrive(certificate);
        self.keep_out_unless(good, certificate, now)
    }

    /// Notes that an agent asks for the next certificate, which is the second one.
    ///
    /// # Errors
    /// `AGENT_CLONED`, as [`Self::shows`].
    pub fn renews(&self, shown: &AgentIdentity, next: &AgentIdentity, now: UnixMicros) -> Result<(), Problem> {
        let good = self.generations().renew(shown, next);
        self.keep_out_unless(good, shown, now)
    }

    /// Goes on keeping out an agent that was kept out before this cloud was started.
    pub fn keep_out_still(&self, agent: AgentId, now: UnixMicros) {
        let mut lineages = self.lineages();
        if !lineages.is_kept_out(agent) {
            lineages.keep_out(agent, "before the start", now);
        }
    }

    /// Ends the link of an agent that was removed, and forgets what told it from copies: its id never comes back.
    pub fn remove(&self, agent: AgentId) {
        self.disconnect(agent, Problem::new(Reason::CertificateRevoked));
        self.generations().forget(agent);
        self.lineages().forget(agent);
    }

    fn keep_out_unless(&self, good: bool, certificate: &AgentIdentity, now: UnixMicros) -> Result<(), Problem> {
        if good {
            return Ok(());
        }
        let agent = certificate.agent_id;
        // Whichever of the two is left after a while begins a new line.
        self.generations().forget(agent);
        self.lineages().keep_out(agent, &certificate.serial, now);
        let cloned = Problem::new(Reason::AgentCloned);
        self.disconnect(agent, cloned.clone());
        Err(cloned)
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lineages(&self) -> MutexGuard<'_, Lineages> {
        self.0.lineages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether this is the only process of its agent.
    pub(crate) fn verdict(&self, arrival: &Arrival, now: UnixMicros) -> Verdict {
        self.lineages()
            .arrive(arrival.agent_id, &arrival.hello.process_nonce, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Config;

    #[test]
    fn of_an_agent_that_was_removed_nothing_is_remembered() {
        let (links, _inbox) = Links::new(Config::default());
        let agents = [AgentId::new(), AgentId::new()];
        let certificate = |agent_id: AgentId, serial: &str| AgentIdentity {
            agent_id,
            serial: serial.to_owned(),
            not_before: 1,
            not_after: 86_400,
        };
        for agent in agents {
            links.shows(&certificate(agent, "a"), UnixMicros(0)).expect("the first");
            links.keep_out_still(agent, UnixMicros(0));
        }
        let remembered = |links: &Links| (links.generations().len(), links.lineages().len());
        assert_eq!(remembered(&links), (2, 2));
        links.remove(agents[0]);
        assert_eq!(remembered(&links), (1, 1));
        assert!(links.lineages().is_kept_out(agents[1]), "the other is as it was");
    }
}
