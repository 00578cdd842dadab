//! Agents and join tokens.

use opslink::pb;

use super::{
    Answer,
    call::{Messages, call, open},
};
use crate::logic::methods;

/// Every agent, and then what changes.
pub(crate) async fn watch_agents() -> Answer<Messages<pb::WatchAgentsResponse>> {
    open(methods::WATCH_AGENTS, pb::WatchAgentsRequest {}).await
}

/// The agents that a selector means.
pub(crate) async fn match_agents(selector: pb::Selector) -> Answer<Vec<pb::Agent>> {
    let message = pb::MatchAgentsRequest {
        selector: Some(selector),
    };
    Ok(call(methods::MATCH_AGENTS, message).await?.agents)
}

/// Replaces the labels of an agent.
pub(crate) async fn set_agent_labels(
    agent: String,
    labels: impl IntoIterator<Item = (String, String)>,
) -> Answer<Option<pb::Agent>> {
    let message = pb::SetAgentLabelsRequest {
        agent,
        labels: labels.into_iter().collect(),
    };
    Ok(call(methods::SET_AGENT_LABELS, message).await?.agent)
}

/// Revokes and forgets an agent.
pub(crate) async fn remove_agent(agent: String) -> Answer<()> {
    call(methods::REMOVE_AGENT, pb::RemoveAgentRequest { agent })
        .await
        .map(drop)
}

/// Makes a join token.
pub(crate) async fn create_join_token(message: pb::CreateJoinTokenRequest) -> Answer<pb::CreateJoinTokenResponse> {
    call(methods::CREATE_JOIN_TOKEN, message).await
}

/// Join tokens, newest first.
pub(crate) async fn list_join_tokens() -> Answer<Vec<pb::JoinToken>> {
    let message = pb::ListJoinTokensRequest {
        page_size: 100,
        page_token: String::new(),
    };
    Ok(call(methods::LIST_JOIN_TOKENS, message).await?.join_tokens)
}

/// Makes a join token unusable.
pub(crate) async fn revoke_join_token(id: String) -> Answer<()> {
    let message = pb::RevokeJoinTokenRequest { id };
    call(methods::REVOKE_JOIN_TOKEN, message).await.map(drop)
}
