//! `EnrollmentService`: a join token and a certificate request in, an identity out; and a way back for agents whose
//! certificate has expired.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opslink::{
    convert,
    id::{AgentId, TokenId},
    pb,
    pb::enrollment_service_server::EnrollmentService,
    problem::Problem,
    reason::Reason,
    time::UnixMicros,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::renew_expired::ExpiredRenewals;
use crate::{
    agents::Directory,
    authz::Rpc,
    identity::{
        Gate, Trail, Visitor,
        attempts::{Attempts, address_key},
        secret,
    },
    pki::{Authority, Issued},
    status::{pki_problem, store_problem, to_status},
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
    pub store: Store,
    /// Issues the certificate.
    pub authority: Arc<Authority>,
    /// Learns of the new agent.
    pub directory: Directory,
    /// Gives expired agents their next certificate.
    pub expired: ExpiredRenewals,
    /// Limits strangers, and keeps what was refused.
    pub joins: Joins,
}

/// Attempts to join.
pub struct Joins {
    trail: Trail,
    by_address: Attempts,
}

impl Joins {
    /// Starts without any.
    pub fn new(trail: Trail) -> Self {
        Self {
            trail,
            // A site may enroll hundreds of machines behind one address, each with a token that is right.
            by_address: Attempts::new(200, Duration::from_millis(500)),
        }
    }

    fn refused(&self, visitor: &Visitor, token_id: &str, problem: &Problem) {
        // Only what looks like an id: the rest is a stranger's text.
        let token = token_id
            .parse::<TokenId>()
            .map_or_else(|_| "?".to_owned(), |id| id.to_string());
        self.trail.note(Audit {
            time: UnixMicros::now(),
            actor: "anonymous".to_owned(),
            actor_role: None,
            action: "agent.join_refused",
            resource: format!("join_token/{token}"),
            detail: problem.reason.code().to_owned(),
            peer: visitor.peer.clone(),
        });
    }
}

impl Service {
    async fn join(&self, visitor: &Visitor, request: pb::JoinRequest) -> Result<pb::JoinResponse, Problem> {
        let token: TokenId = request.token_id.parse().map_err(|_| Reason::JoinTokenUnknown)?;
        let hash = secret::hash(&request.token_secret);
        let proposed_name = self.proposed_name(token, &hash, &request.agent_name).await?;
        let agent_id = AgentId::new();
        // Before the token is consumed: a bad request must not cost one.
        let issued = self
            .authority
            .issue_agent(agent_id, &request.csr_der, SystemTime::now())
            .map_err(pki_problem)?;
        let enrolled_at = UnixMicros::now();
        let detail = format!("join token {token}");
        let audit = Audit::agent(agent_id, visitor.peer.clone(), "agent.join", detail);
        let new = NewAgent {
            id: agent_id,
            proposed_name,
            enrolled_at,
        };
        // The row and the directory are one thing, also when the agent goes away in between: its name is taken.
        let (store, directory) = (self.store.clone(), self.directory.clone());
        let joining = async move {
            let result = match store.agent_join(token, &hash, new, audit).await {
                // The id is of this call: if it is there, this call joined it.
                Err(error) if error.may_be_done() => match directory.refresh(&store, agent_id).await {
                    Some(agent) => JoinResult::Joined(agent),
                    None => return Err(error),
                },
                result => result?,
            };
            if let JoinResult::Joined(agent) = &result {
                // Before the answer: its first handshake asks the directory.
                directory.upsert(agent.clone());
            }
            Ok(result)
        };
        let broken = |error| Problem::new(Reason::Internal).with("detail", error);
        let joined = tokio::spawn(joining).await.map_err(broken)?;
        let agent = match joined.map_err(store_problem)? {
            JoinResult::Joined(agent) => agent,
            JoinResult::TokenUnknown => return Err(Reason::JoinTokenUnknown.into()),
            JoinResult::TokenExpired => return Err(Reason::JoinTokenExpired.into()),
            JoinResult::TokenUsed => return Err(Reason::JoinTokenUsed.into()),
            JoinResult::TokenRevoked => return Err(Reason::JoinTokenRevoked.into()),
            JoinResult::NameTaken(name) => return Err(Problem::new(Reason::AgentNameTaken).with("name", name)),
        };
        let agent_name = agent.name;
        Ok(pb::JoinResponse {
            agent_id: agent_id.to_string(),
            agent_name,
            certificate_chain_der: chain(&issued),
            ca_der: roots(&self.authority),
            task_signing_keys: vec![self.authority.task_public_key().to_vec().into()],
        })
    }

    /// Checks the wished name, unless the token decides it. Who does not have the token's secret learns nothing by a
    /// bad name: the store says that there is no such token.
    async fn proposed_name(&self, token: TokenId, secret_hash: &[u8; 32], wished: &str) -> Result<String, Problem> {
        let invalid = match convert::agent_name("agent_name", wished) {
            Ok(name) => return Ok(name),
            Err(error) => Problem::from(error).with("name", wished),
        };
        let known = self.store.join_token_get(token).await.map_err(store_problem)?;
        match known.filter(|known| known.secret_hash == secret_hash) {
            Some(known) if known.agent_name.is_empty() => Err(invalid),
            Some(_) => Ok(String::new()),
            None => Err(Reason::JoinTokenUnknown.into()),
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
) -> Result<(Issued, pb::RenewCertificateResponse), Problem> {
    let issued = authority
        .issue_agent(agent, &request.csr_der, SystemTime::now())
        .map_err(pki_problem)?;
    let answer = pb::RenewCertificateResponse {
        certificate_chain_der: chain(&issued),
        ca_der: roots(authority),
    };
    Ok((issued, answer))
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
        let refuse = |problem: &Problem| to_status(problem, visitor.language);
        let address = address_key(&visitor.peer);
        self.joins
            .by_address
            .take(&address, Instant::now())
            .map_err(|wait| refuse(&Problem::new(Reason::TooManyAttempts).with("seconds", wait.as_secs().max(1))))?;
        let token_id = request.get_ref().token_id.clone();
        match self.join(&visitor, request.into_inner()).await {
            Ok(joined) => {
                self.joins.by_address.give_back(&address);
                visitor.make_known(&format!("agent:{}", joined.agent_id));
                Ok(Response::new(joined))
            }
            Err(problem) => {
                self.joins.refused(&visitor, &token_id, &problem);
                Err(refuse(&problem))
            }
        }
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
