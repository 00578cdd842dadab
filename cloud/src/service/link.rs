//! `LinkService`: the one stream of every agent, and the renewal of its certificate.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb, pb::link_service_server::LinkService, problem::Problem, reason::Reason, time::UnixMicros};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::enroll;
use crate::{
    authz::Rpc,
    identity::{AgentPeer, Gate, Standing, Trail, attempts::Attempts},
    pki::{Authority, IdentityError},
    status::{language, to_status},
    store::record::Audit,
    task::Engine,
};

/// The service.
pub struct Service {
    gate: Gate,
    engine: Engine,
    authority: Arc<Authority>,
    trail: Trail,
    comings: Attempts,
    renewals: Attempts,
}

impl Service {
    /// Puts the service in front of an engine's links.
    pub fn new(gate: Gate, engine: Engine, authority: Arc<Authority>, trail: Trail) -> Self {
        // Due at half of the life of a certificate; eight in the time of one forgive whatever was lost on the way.
        let every = (authority.lifetime() / 8).clamp(Duration::from_secs(1), Duration::from_secs(600));
        Self {
            gate,
            engine,
            trail,
            renewals: Attempts::new(8, every),
            authority,
            // Each coming reads and writes the store. An agent that is cut redials after a second, then less often.
            comings: Attempts::new(60, Duration::from_secs(1)),
        }
    }

    async fn renew(
        &self,
        agent: &AgentPeer,
        request: &pb::RenewCertificateRequest,
    ) -> Result<pb::RenewCertificateResponse, Problem> {
        self.renewals
            .take(&agent.agent_id.to_string(), Instant::now())
            .map_err(|_| Problem::new(Reason::Overloaded))?;
        let (issued, answer) = enroll::renew(&self.authority, agent.agent_id, request)?;
        let detail = |error: IdentityError| Problem::new(Reason::Internal).with("detail", error);
        let leaf = issued.chain.first().ok_or(Reason::Internal)?;
        let next = self.authority.identify(leaf).map_err(detail)?;
        let asked = self.engine.links().renews(&agent.certificate, &next, UnixMicros::now());
        self.generation_checked(agent, asked).await?;
        let detail = format!("certificate {} after {}", next.serial, agent.certificate.serial);
        self.trail.note_known(audit(agent, "agent.renew", detail));
        Ok(answer)
    }

    /// Keeps agent and copy out for longer than this cloud lives.
    async fn generation_checked(&self, agent: &AgentPeer, checked: Result<(), Problem>) -> Result<(), Problem> {
        let Err(problem) = checked else { return Ok(()) };
        let serial = &agent.certificate.serial;
        tracing::error!(agent = %agent.agent_id, peer = agent.peer, serial, "a certificate that was replaced is in use; agent and copy are kept out");
        let detail = format!("certificate {serial} was replaced and is still in use");
        let row = audit(agent, "agent.quarantine", detail);
        if let Err(problem) = self.gate.quarantine(agent.agent_id, row).await {
            tracing::warn!(agent = %agent.agent_id, %problem, "a quarantine was not stored");
        }
        Err(problem)
    }
}

fn audit(agent: &AgentPeer, action: &'static str, detail: String) -> Audit {
    Audit::agent(agent.agent_id, agent.peer.clone(), action, detail)
}

#[tonic::async_trait]
impl LinkService for Service {
    type AttachStream = BoxStream<'static, Result<pb::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let agent = self.gate.agent(&request, Rpc::Attach).await?;
        let hold = self.gate.hold(&request, Rpc::Attach);
        let language = language(request.metadata());
        let to_status = move |problem: Problem| to_status(&problem, language);
        self.comings
            .take(&agent.agent_id.to_string(), Instant::now())
            .map_err(|_| to_status(Reason::Overloaded.into()))?;
        let now = UnixMicros::now();
        let was_kept_out = self.gate.is_quarantined(agent.agent_id, now).await.map_err(to_status)?;
        if was_kept_out {
            self.engine.links().keep_out_still(agent.agent_id, now);
        }
        let shown = self.engine.links().shows(&agent.certificate, now);
        self.generation_checked(&agent, shown).await.map_err(to_status)?;
        // One link a connection: a second one would only be superseded by the first.
        let taken = match request.extensions().get::<Arc<Standing>>().map(Standing::take_link) {
            Some(None) => return Err(to_status(Problem::new(Reason::FrameUnexpected).with("frame", "Attach"))),
            taken @ (Some(Some(_)) | None) => taken,
        };
        let (agent_id, peer) = (agent.agent_id, agent.peer.clone());
        let frames = self
            .engine
            .links()
            .attach(agent.agent_id, agent.peer.clone(), request.into_inner())
            .await;
        if frames.is_ok() && was_kept_out {
            let detail = "only one has come for a while".to_owned();
            let row = audit(&agent, "agent.quarantine_end", detail);
            if let Err(problem) = self.gate.end_quarantine(agent_id, row).await {
                tracing::warn!(agent = %agent_id, %problem, "the end of a quarantine was not stored");
            }
        }
        if let Err(problem) = &frames {
            // Seldom: an agent that is not let in waits for long before it comes again.
            tracing::warn!(agent = %agent_id, peer, %problem, "an agent's link was refused");
        }
        let frames = frames.map_err(to_status)?.map(move |frame| {
            let _until_the_link_ends = &taken;
            frame.map_err(to_status)
        });
        Ok(Response::new(hold.over(frames)))
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let agent = self.gate.agent(&request, Rpc::RenewCertificate).await?;
        let language = language(request.metadata());
        let renewed = self.renew(&agent, &request.into_inner()).await;
        renewed
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }
}
