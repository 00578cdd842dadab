//! `TokenService`: API tokens for scripts and pipelines.

use std::time::Duration;

use opslink::{
    convert, id::TokenId, pb, pb::token_service_server::TokenService, problem::Problem, reason::Reason,
    time::UnixMicros,
};
use tonic::{Request, Response, Status};

use super::{page, role_from_pb, role_to_pb};
use crate::{
    authz::Rpc,
    identity::{Caller, Gate, secret},
    status::{bad_field, language, store_problem, to_status},
    store::{self, Store, record::Token},
};

const DEFAULT_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
const MAX_TTL_SECS: u32 = 365 * 24 * 3600;
const MAX_NAME_CHARS: usize = 64;

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Where tokens are kept.
    pub store: Store,
}

impl Service {
    async fn create(
        &self,
        caller: &Caller,
        request: pb::CreateTokenRequest,
    ) -> Result<pb::CreateTokenResponse, Problem> {
        let name = request.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(bad_field("name", "must have 1 to 64 printable characters"));
        }
        let role = role_from_pb(request.role).ok_or_else(|| bad_field("role", "must be viewer, operator or admin"))?;
        if role > caller.role {
            return Err(bad_field("role", "must not be above your own"));
        }
        let ttl = match request.ttl_secs {
            0 => None,
            secs if secs > MAX_TTL_SECS => return Err(bad_field("ttl_secs", "must be at most 31536000 (365 days)")),
            secs => Some(Duration::from_secs(secs.into())),
        };
        let secret = secret::with_prefix(secret::TOKEN_PREFIX)
            .map_err(|error| Problem::new(Reason::Internal).with("detail", error))?;
        let created_at = UnixMicros::now();
        let token = Token {
            id: TokenId::new(),
            name,
            secret_hash: secret::hash(&secret).to_vec(),
            role,
            created_by: caller.actor.clone(),
            created_at,
            expires_at: caller.bound_expiry(created_at, ttl, DEFAULT_TTL)?,
            last_used_at: None,
            revoked: false,
        };
        let audit = caller.audit("token.create", format!("token/{}", token.id), token.name.clone());
        match self.store.token_insert(token.clone(), audit).await {
            Ok(()) => Ok(pb::CreateTokenResponse {
                token: Some(to_pb(token)),
                secret,
            }),
            Err(store::Error::Exists { .. }) => Err(Problem::new(Reason::TokenNameTaken).with("name", token.name)),
            Err(
                error @ (store::Error::Unavailable { .. }
                | store::Error::Corrupt { .. }
                | store::Error::NotFound { .. }),
            ) => Err(store_problem(error)),
        }
    }

    async fn list(&self, request: &pb::ListTokensRequest) -> Result<pb::ListTokensResponse, Problem> {
        let size = page::size(request.page_size, 100, 1000)?;
        // Ids sort by time, and the list is newest first.
        let before = page::after_id(&request.page_token)?;
        let tokens = self.store.token_list(before, page::rows(size)).await;
        let tokens = tokens.map_err(store_problem)?.into_iter();
        let (tokens, next_page_token) = page::cut(tokens, size, |token| token.id.to_string());
        Ok(pb::ListTokensResponse {
            tokens: tokens.into_iter().map(to_pb).collect(),
            next_page_token,
        })
    }

    async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        let unknown = || Problem::new(Reason::TokenNotFound).with("name", id);
        let token: TokenId = id.parse().map_err(|_| unknown())?;
        let audit = caller.audit("token.revoke", format!("token/{token}"), String::new());
        self.store
            .token_revoke(token, audit)
            .await
            .map_err(|error| match error {
                store::Error::NotFound { .. } => unknown(),
                store::Error::Unavailable { .. } | store::Error::Corrupt { .. } | store::Error::Exists { .. } => {
                    store_problem(error)
                }
            })?;
        self.gate.forget();
        Ok(())
    }
}

fn to_pb(token: Token) -> pb::Token {
    pb::Token {
        id: token.id.to_string(),
        name: token.name,
        role: role_to_pb(token.role).into(),
        created_by: token.created_by,
        created_at: Some(convert::timestamp(token.created_at)),
        expires_at: Some(convert::timestamp(token.expires_at)),
        last_used_at: token.last_used_at.map(convert::timestamp),
        revoked: token.revoked,
    }
}

#[tonic::async_trait]
impl TokenService for Service {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::CreateToken).await?;
        let language = language(request.metadata());
        let created = self.create(&caller, request.into_inner()).await;
        created
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensResponse>, Status> {
        self.gate.permit(&request, Rpc::ListTokens).await?;
        let language = language(request.metadata());
        let listed = self.list(request.get_ref()).await;
        listed
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::RevokeToken).await?;
        let language = language(request.metadata());
        self.revoke(&caller, &request.get_ref().id)
            .await
            .map_err(|problem| to_status(&problem, language))?;
        Ok(Response::new(pb::RevokeTokenResponse {}))
    }
}
