//! `EnrollmentService`: a join token and a certificate request in, an identity out; and a way back for agents whose
//! certificate has expired.

use std::{sync::Arc, time::SystemTime};

use opslink::{
    convert,
    id::{AgentId, TokenId},
    pb,
    pb::enrollment_service_server::EnrollmentService,
    problem::Problem,
    reason::Reason,
    time::UnixMicros,
};
use tonic::{Request, Response, Status};

use super::{
    renew_expired::ExpiredRenewals,
    status::{pki_problem, store_problem, to_status},
};
use crate::{
    agents::Directory,
    authz::Rpc,
    identity::{Gate, Visitor, secret},
    pki::{Authority, Issued},
    store::{
        Store,
        record::{Audit, JoinResult, NewAgent},
    },
};

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Where tokens and agents are kept.
    pub store: Arc<dyn Store>,
    /// Issues the certificate.
    pub authority: Arc<Authority>,
    /// Learns of the new agent.
    pub directory: Directory,
    /// Gives expired agents their next certificate.
    pub expired: ExpiredRenewals,
}

impl Service {
    async fn join(&self, visitor: &Visitor, request: pb::JoinRequest) -> Result<pb::JoinResponse, Problem> {
        let token: TokenId = request.token_id.parse().map_err(|_| Reason::JoinTokenUnknown)?;
        let proposed_name = self.proposed_name(token, &request.agent_name).await?;
        let agent_id = AgentId::new();
        // Before the token is consumed: a bad request must not cost one.
        let issued = self
            .authority
            .issue_agent(agent_id, &request.csr_der, SystemTime::now())
            .map_err(pki_problem)?;
        let enrolled_at = UnixMicros::now();
        let audit = Audit {
            time: enrolled_at,
            actor: format!("agent:{agent_id}"),
            actor_role: None,
            action: "agent.join",
            resource: format!("agent/{agent_id}"),
            detail: format!("join token {token}"),
            peer: visitor.peer.clone(),
        };
        let new = NewAgent {
            id: agent_id,
            proposed_name,
            enrolled_at,
        };
        let hash = secret::hash(&request.token_secret);
        let agent = match self
            .store
            .agent_join(token, &hash, new, audit)
            .await
            .map_err(store_problem)?
        {
            JoinResult::Joined(agent) => agent,
            JoinResult::TokenUnknown => return Err(Reason::JoinTokenUnknown.into()),
            JoinResult::TokenExpired => return Err(Reason::JoinTokenExpired.into()),
            JoinResult::TokenUsed => return Err(Reason::JoinTokenUsed.into()),
            JoinResult::TokenRevoked => return Err(Reason::JoinTokenRevoked.into()),
            JoinResult::NameTaken(name) => return Err(Problem::new(Reason::AgentNameTaken).with("name", name)),
        };
        let agent_name = agent.name.clone();
        // Before the answer: its first handshake asks the directory.
        self.directory.upsert(agent);
        Ok(pb::JoinResponse {
            agent_id: agent_id.to_string(),
            agent_name,
            certificate_chain_der: chain(&issued),
            ca_der: roots(&self.authority),
            task_signing_keys: vec![self.authority.task_public_key().to_vec().into()],
        })
    }

    /// Checks the wished name, unless the token decides it.
    async fn proposed_name(&self, token: TokenId, wished: &str) -> Result<String, Problem> {
        let invalid = match convert::agent_name("agent_name", wished) {
            Ok(name) => return Ok(name),
            Err(error) => Problem::from(error).with("name", wished),
        };
        let tokens = self.store.join_token_list().await.map_err(store_problem)?;
        match tokens.iter().find(|known| known.id == token) {
            Some(known) if known.agent_name.is_empty() => Err(invalid),
            // The token's name wins, or there is no such token and the store will say so.
            Some(_) | None => Ok(String::new()),
        }
    }
}

/// Issues the next certificate of an agent whose certificate was checked by the gate.
///
/// # Errors
/// `CSR_INVALID`, or a failure of the authority.
pub fn renew(
    authority: &Authority,
    agent: AgentId,
    request: &pb::RenewCertificateRequest,
) -> Result<pb::RenewCertificateResponse, Problem> {
    let issued = authority
        .issue_agent(agent, &request.csr_der, SystemTime::now())
        .map_err(pki_problem)?;
    Ok(pb::RenewCertificateResponse {
        certificate_chain_der: chain(&issued),
        ca_der: roots(authority),
    })
}

fn chain(issued: &Issued) -> Vec<bytes::Bytes> {
    issued
        .chain
        .iter()
        .map(|certificate| certificate.to_vec().into())
        .collect()
}

fn roots(authority: &Authority) -> Vec<bytes::Bytes> {
    authority
        .roots_for_clients()
        .iter()
        .map(|root| root.to_vec().into())
        .collect()
}

#[tonic::async_trait]
impl EnrollmentService for Service {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let visitor = self.gate.open(&request, Rpc::Join)?;
        let joined = self.join(&visitor, request.into_inner()).await;
        joined
            .map(Response::new)
            .map_err(|problem| to_status(&problem, visitor.language))
    }

    async fn renew_expired(
        &self,
        request: Request<pb::RenewExpiredRequest>,
    ) -> Result<Response<pb::RenewExpiredResponse>, Status> {
        let visitor = self.gate.open(&request, Rpc::RenewExpired)?;
        let issued = self.expired.renew(&visitor, request.get_ref()).await;
        let issued = issued.map_err(|problem| to_status(&problem, visitor.language))?;
        Ok(Response::new(pb::RenewExpiredResponse {
            certificate_chain_der: chain(&issued),
            ca_der: roots(&self.authority),
        }))
    }
}
