//! Agents and join tokens.

use opslink::pb::{self, agent_service_client::AgentServiceClient};
use tonic::Streaming;

use super::{Answer, MAX_MESSAGE, answer, channel, request};

fn client() -> AgentServiceClient<tonic_web_wasm_client::Client> {
    AgentServiceClient::new(channel()).max_decoding_message_size(MAX_MESSAGE)
}

/// Every agent, and then what changes.
pub(crate) async fn watch_agents() -> Answer<Streaming<pb::WatchAgentsResponse>> {
    answer(client().watch_agents(request(pb::WatchAgentsRequest {})).await)
}

/// The agents that a selector means.
pub(crate) async fn match_agents(selector: pb::Selector) -> Answer<Vec<pb::Agent>> {
    let message = pb::MatchAgentsRequest {
        selector: Some(selector),
    };
    Ok(answer(client().match_agents(request(message)).await)?.agents)
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
    Ok(answer(client().set_agent_labels(request(message)).await)?.agent)
}

/// Revokes and forgets an agent.
pub(crate) async fn remove_agent(agent: String) -> Answer<()> {
    answer(client().remove_agent(request(pb::RemoveAgentRequest { agent })).await).map(drop)
}

/// Makes a join token.
pub(crate) async fn create_join_token(message: pb::CreateJoinTokenRequest) -> Answer<pb::CreateJoinTokenResponse> {
    answer(client().create_join_token(request(message)).await)
}

/// Join tokens, newest first.
pub(crate) async fn list_join_tokens() -> Answer<Vec<pb::JoinToken>> {
    let message = pb::ListJoinTokensRequest {
        page_size: 100,
        page_token: String::new(),
    };
    Ok(answer(client().list_join_tokens(request(message)).await)?.join_tokens)
}

/// Makes a join token unusable.
pub(crate) async fn revoke_join_token(id: String) -> Answer<()> {
    answer(
        client()
            .revoke_join_token(request(pb::RevokeJoinTokenRequest { id }))
            .await,
    )
    .map(drop)
}
