//! Join tokens: made, listed, revoked. They are used in `enroll`.

use std::{sync::Arc, time::Duration};

use opslink::{convert, id::TokenId, pb, problem::Problem, reason::Reason, time::UnixMicros};

use super::page;
use crate::{
    identity::{Caller, secret},
    pki::Authority,
    status::{bad_field, store_problem},
    store::{self, Store, record::JoinToken},
};

const DEFAULT_TTL: Duration = Duration::from_secs(3600);
const MAX_TTL_SECS: u32 = 7 * 24 * 3600;

/// The join tokens of this cloud.
pub struct JoinTokens {
    /// Where they are kept.
    pub store: Store,
    /// Whose root they pin.
    pub authority: Arc<Authority>,
    /// Where agents are told to go.
    pub public_url: Arc<str>,
}

impl JoinTokens {
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        request: pb::CreateJoinTokenRequest,
    ) -> Result<pb::CreateJoinTokenResponse, Problem> {
        let labels = convert::labels("labels", request.labels)?;
        let agent_name = match request.agent_name.as_str() {
            "" => String::new(),
            name => convert::agent_name("agent_name", name).map_err(|error| Problem::from(error).with("name", name))?,
        };
        let ttl = match request.ttl_secs {
            0 => None,
            secs if secs > MAX_TTL_SECS => return Err(bad_field("ttl_secs", "must be at most 604800 (7 days)")),
            secs => Some(Duration::from_secs(secs.into())),
        };
        let request_id = match request.request_id.as_str() {
            "" => None,
            text => {
                let id = uuid::Uuid::try_parse(text).map_err(|_| bad_field("request_id", "must be a UUID"))?;
                Some(id.to_string())
            }
        };
        let secret = secret::random().map_err(|error| Problem::new(Reason::Internal).with("detail", error))?;
        let created_at = UnixMicros::now();
        let token = JoinToken {
            id: TokenId::new(),
            secret_hash: secret::hash(&secret).to_vec(),
            labels,
            agent_name,
            created_by: caller.actor.clone(),
            created_at,
            expires_at: caller.bound_expiry(created_at, ttl, DEFAULT_TTL)?,
            used: None,
            revoked: false,
            request_id,
        };
        let audit = caller.audit(
            "join_token.create",
            format!("join_token/{}", token.id),
            token.agent_name.clone(),
        );
        let inserted = self.store.join_token_insert(token.clone(), audit).await;
        inserted.map_err(|error| match error {
            // Its secret was in the first answer, and nowhere else.
            store::Error::Exists { name, .. } => Problem::new(Reason::JoinTokenMade).with("id", name),
            store::Error::Unavailable { .. } | store::Error::Corrupt { .. } | store::Error::NotFound { .. } => {
                store_problem(error)
            }
        })?;
        let text = format!(
            "{}.{}.{}.{secret}",
            secret::JOIN_PREFIX,
            self.authority.server_root_sha256(),
            token.id
        );
        // Everybody on a machine can read command lines; what a shell prints by itself is in none.
        let command = format!("echo {text} | opslink-agent join {} --token-file -", self.public_url);
        Ok(pb::CreateJoinTokenResponse {
            join_token: Some(to_pb(token)),
            token: text,
            command,
        })
    }

    pub(crate) async fn list(
        &self,
        request: &pb::ListJoinTokensRequest,
    ) -> Result<pb::ListJoinTokensResponse, Problem> {
        let size = page::size(request.page_size, 100, 1000)?;
        // Ids sort by time, and the list is newest first.
        let before = page::after_id(&request.page_token)?;
        let tokens = self.store.join_token_list(before, page::rows(size)).await;
        let tokens = tokens.map_err(store_problem)?.into_iter();
        let (tokens, next_page_token) = page::cut(tokens, size, |token| token.id.to_string());
        Ok(pb::ListJoinTokensResponse {
            join_tokens: tokens.into_iter().map(to_pb).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        let unknown = || Problem::new(Reason::TokenNotFound).with("name", id);
        let token: TokenId = id.parse().map_err(|_| unknown())?;
        let audit = caller.audit("join_token.revoke", format!("join_token/{token}"), String::new());
        self.store
            .join_token_revoke(token, audit)
            .await
            .map_err(|error| match error {
                store::Error::NotFound { .. } => unknown(),
                store::Error::Unavailable { .. } | store::Error::Corrupt { .. } | store::Error::Exists { .. } => {
                    store_problem(error)
                }
            })
    }
}

fn to_pb(token: JoinToken) -> pb::JoinToken {
    pb::JoinToken {
        id: token.id.to_string(),
        labels: token.labels.into_iter().collect(),
        agent_name: token.agent_name,
        created_at: Some(convert::timestamp(token.created_at)),
        expires_at: Some(convert::timestamp(token.expires_at)),
        used_at: token.used.map(|(time, _)| convert::timestamp(time)),
        used_by_agent_id: token.used.map(|(_, agent)| agent.to_string()).unwrap_or_default(),
        revoked: token.revoked,
        created_by: token.created_by,
    }
}
