//! The next certificate for an agent that was away for longer than its certificate lives: a site that was off over a
//! weekend comes back by itself.
//!
//! Who asks proves the key of the expired certificate on its connection ([`crate::pki::Proof`]). What cannot be read
//! out of a certificate is decided here: whether the agent still belongs to this cloud, and whether this certificate
//! was its last one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opslink::{duration, pb, problem::Problem, reason::Reason, time::UnixMicros};
use tokio::time::Instant;

use crate::status::{pki_problem, store_problem};
use crate::{
    agents::Directory,
    identity::{
        Visitor,
        attempts::{Attempts, address_key},
    },
    link::Links,
    pki::{AgentIdentity, Authority, Issued, Proof, Refusal},
    store::{
        Store,
        record::{Audit, Quarantine},
    },
    tls::Limits,
};

/// Generous: how long after a connection has ended its agent may still count as seen.
const NOTICED_WITHIN: Duration = Duration::from_secs(3600);

/// Renews expired certificates.
pub struct ExpiredRenewals {
    store: Store,
    authority: Arc<Authority>,
    directory: Directory,
    links: Links,
    by_address: Attempts,
    by_agent: Attempts,
}

impl ExpiredRenewals {
    /// Makes the renewals of this cloud.
    pub fn new(store: Store, authority: Arc<Authority>, directory: Directory, links: Links) -> Self {
        Self {
            store,
            authority,
            directory,
            links,
            // Paid by strangers and by who is refused. A site behind one address may have hundreds of agents.
            by_address: Attempts::new(100, Duration::from_millis(100)),
            // Paid by agents: each renewal writes a row. One that gets its certificate needs the next one in hours.
            by_agent: Attempts::new(5, Duration::from_secs(60)),
        }
    }

    /// Checks the proof and issues the next certificate.
    ///
    /// # Errors
    /// `RENEWAL_PROOF_INVALID`, `CLOCK_WRONG`, `RENEWAL_WINDOW_PASSED`, `CERTIFICATE_REVOKED`, `CERTIFICATE_SUPERSEDED`,
    /// `CSR_INVALID`, `OVERLOADED`, and what the store says.
    pub async fn renew(&self, visitor: &Visitor, request: &pb::RenewExpiredRequest) -> Result<Issued, Problem> {
        let address = address_key(&visitor.peer);
        self.by_address.take(&address, Instant::now()).map_err(overloaded)?;
        let now = SystemTime::now();
        let identity = self.check(visitor, request, now)?;
        self.by_agent
            .take(&identity.agent_id.to_string(), Instant::now())
            .map_err(overloaded)?;
        let issued = self
            .authority
            .issue_agent(identity.agent_id, &request.csr_der, now)
            .map_err(pki_problem)?;
        let next = issued.chain.first().and_then(|leaf| self.authority.identify(leaf).ok());
        if let Some(next) = next
            && let Err(problem) = self.links.renews(&identity, &next, UnixMicros::now())
        {
            tracing::error!(agent = %identity.agent_id, "one expired certificate was shown by two; both are kept out");
            let mut row = audit(visitor, &identity);
            row.action = "agent.quarantine";
            row.detail = format!("certificate {} was replaced and is still in use", identity.serial);
            let kept_out = Quarantine::of_copies(identity.agent_id, row.time);
            self.store.quarantine_put(kept_out, row).await.map_err(store_problem)?;
            return Err(problem);
        }
        // Before the answer: no certificate leaves without its row.
        self.store
            .audit_insert(audit(visitor, &identity))
            .await
            .map_err(store_problem)?;
        self.by_address.give_back(&address);
        tracing::info!(agent = %identity.agent_id, "renewed an expired certificate");
        Ok(issued)
    }

    fn check(
        &self,
        visitor: &Visitor,
        request: &pb::RenewExpiredRequest,
        now: SystemTime,
    ) -> Result<AgentIdentity, Problem> {
        let proof = Proof {
            certificate: &request.certificate_der,
            csr: &request.csr_der,
            signature: &request.signature,
            // Without TLS, or with a certificate that is good, nobody needs this.
            channel: &visitor
                .channel
                .ok_or_else(|| refused(&Refusal::Unproven, Duration::ZERO))?,
        };
        let identity = self
            .authority
            .check_expired(&proof, now)
            .map_err(|refusal| refused(&refusal, self.authority.window()))?;
        let expired_at = UnixMicros(identity.not_after.saturating_mul(1_000_000));
        let problem = match self.directory.get(identity.agent_id) {
            None => Problem::new(Reason::CertificateRevoked),
            Some(agent) => match agent.last_seen_at {
                Some(seen_at) if has_newer(expired_at, seen_at) => Problem::new(Reason::CertificateSuperseded)
                    .with("expired", expired_at)
                    .with("seen", seen_at),
                Some(_) | None => return Ok(identity),
            },
        };
        tracing::warn!(agent = %identity.agent_id, %problem, "an expired certificate was not renewed");
        Err(problem)
    }
}

/// Says whether an agent that was seen at this time must have had another certificate then than the one that expired
/// at that time: no link outlives the certificate that opened it for longer than a connection may live. So a copy of
/// an old key is worth nothing while its agent is in use, without remembering any certificate.
fn has_newer(expired_at: UnixMicros, seen_at: UnixMicros) -> bool {
    seen_at > expired_at.plus(Limits::default().longest_life() + NOTICED_WITHIN)
}

fn refused(refusal: &Refusal, window: Duration) -> Problem {
    match refusal {
        Refusal::Identity(_) | Refusal::Chain | Refusal::Unproven => {
            Problem::new(Reason::RenewalProofInvalid).with("detail", refusal)
        }
        Refusal::NotYetValid { not_before } => {
            let now = UnixMicros::now();
            let detail = format!("the agent's certificate begins at {not_before}, and the cloud's clock says {now}");
            Problem::new(Reason::ClockWrong).with("detail", detail)
        }
        Refusal::TooLate { expired_at } => Problem::new(Reason::RenewalWindowPassed)
            .with("expired", expired_at)
            .with(
                "window",
                if window.is_zero() {
                    "0 s".to_owned()
                } else {
                    duration::show(window)
                },
            ),
    }
}

fn overloaded(_wait: Duration) -> Problem {
    Problem::new(Reason::Overloaded)
}

fn audit(visitor: &Visitor, identity: &AgentIdentity) -> Audit {
    let expired_at = UnixMicros(identity.not_after.saturating_mul(1_000_000));
    let detail = format!("certificate {} expired at {expired_at}", identity.serial);
    Audit::agent(identity.agent_id, visitor.peer.clone(), "agent.renew_expired", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_was_seen_long_after_the_end_has_a_newer_certificate() {
        let hours = |hours: u64| UnixMicros(0).plus(Duration::from_secs(hours * 3600));
        let expired_at = hours(24);
        // A link that was opened in the last moment lives on for half a day.
        for (seen_at, newer) in [(1, false), (24, false), (37, false), (38, true), (96, true)] {
            assert_eq!(has_newer(expired_at, hours(seen_at)), newer, "{seen_at}");
        }
    }
}
