//! `LinkService`: the one stream of every agent, and the renewal of its certificate.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb, pb::link_service_server::LinkService, problem::Problem};
use tonic::{Request, Response, Status, Streaming};

use super::{
    enroll,
    status::{language, to_status},
};
use crate::{authz::Rpc, identity::Gate, pki::Authority, task::Engine};

/// The service.
pub struct Service {
    gate: Gate,
    engine: Engine,
    authority: Arc<Authority>,
}

impl Service {
    /// Puts the service in front of an engine's links.
    pub const fn new(gate: Gate, engine: Engine, authority: Arc<Authority>) -> Self {
        Self {
            gate,
            engine,
            authority,
        }
    }
}

#[tonic::async_trait]
impl LinkService for Service {
    type AttachStream = BoxStream<'static, Result<pb::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let agent = self.gate.agent(&request, Rpc::Attach).await?;
        let language = language(request.metadata());
        let to_status = move |problem: Problem| to_status(&problem, language);
        let (agent_id, peer) = (agent.agent_id, agent.peer.clone());
        let frames = self
            .engine
            .links()
            .attach(agent.agent_id, agent.peer, request.into_inner())
            .await;
        if let Err(problem) = &frames {
            // Seldom: an agent that is not let in waits for long before it comes again.
            tracing::warn!(agent = %agent_id, peer, %problem, "an agent's link was refused");
        }
        Ok(Response::new(
            frames
                .map_err(to_status)?
                .map(move |frame| frame.map_err(to_status))
                .boxed(),
        ))
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let agent = self.gate.agent(&request, Rpc::RenewCertificate).await?;
        let language = language(request.metadata());
        let renewed = enroll::renew(&self.authority, agent.agent_id, &request.into_inner());
        renewed
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }
}
