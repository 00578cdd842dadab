//! `AgentService`: the enrolled machines, their labels, and the tokens that new ones join with.

use std::pin::Pin;

use futures::Stream;
use opslink::{
    convert, id::AgentId, locale::Language, pb, pb::agent_service_server::AgentService, problem::Problem,
    reason::Reason, selector::Selector,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{join_token::JoinTokens, page};
use crate::{
    agents::{AgentView, Directory},
    authz::Rpc,
    identity::{Caller, Gate},
    status::{language, store_problem, to_status},
    store::{self, Store},
    task::{Engine, RemovalError, targets},
};

mod watch;

/// Agents in one page when none is asked for, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Where labels and removals are kept.
    pub store: Store,
    /// The same for what the directory does not know.
    pub lookups: Store,
    /// The living agents.
    pub directory: Directory,
    /// Ends what removed agents were doing.
    pub engine: Engine,
    /// Join tokens.
    pub join_tokens: JoinTokens,
    /// Ends the watches when the server stops.
    pub stop: CancellationToken,
}

impl Service {
    fn find(&self, id_or_name: &str) -> Result<AgentView, Problem> {
        self.directory
            .find(id_or_name)
            .ok_or_else(|| Problem::new(Reason::AgentNotFound).with("agent", id_or_name))
    }

    /// Finds an agent that is to be changed, also one that only the store knows: a database that went back in time has
    /// agents again that were removed.
    async fn find_for_change(&self, id_or_name: &str) -> Result<AgentView, Problem> {
        if let Ok(view) = self.find(id_or_name) {
            return Ok(view);
        }
        if let Some(id) = self.stored(id_or_name).await.map_err(store_problem)? {
            let _one = self.directory.one_change().await;
            self.directory.refresh(&self.store, id).await;
        }
        self.find(id_or_name)
    }

    /// A living agent of the store, by its name or its id: a name that nobody has costs no list.
    async fn stored(&self, id_or_name: &str) -> store::Result<Option<AgentId>> {
        let found = match (
            self.lookups.agent_by_name(id_or_name).await?,
            id_or_name.parse::<AgentId>(),
        ) {
            (Some(agent), _) => Some(agent),
            (None, Ok(id)) => self.lookups.agent_get(id).await?,
            (None, Err(_)) => None,
        };
        Ok(found.filter(|agent| !agent.removed).map(|agent| agent.id))
    }

    async fn list(&self, actor: &str, request: pb::ListAgentsRequest) -> Result<pb::ListAgentsResponse, Problem> {
        let views = if request.filter.trim().is_empty() {
            self.directory.list()
        } else {
            self.directory
                .select(actor, Selector::parse_expression(&request.filter)?)
                .await
        };
        let total_size = i32::try_from(views.len()).unwrap_or(i32::MAX);
        let after = page::after(&request.page_token)?;
        let size = page::size(request.page_size, PAGE.0, PAGE.1)?;
        let rest = views
            .into_iter()
            .filter(|view| after.as_ref().is_none_or(|after| view.agent.name > *after));
        let (views, next_page_token) = page::cut(rest, size, |view| view.agent.name.clone());
        Ok(pb::ListAgentsResponse {
            agents: views.iter().map(AgentView::to_pb).collect(),
            next_page_token,
            total_size,
        })
    }

    async fn set_labels(&self, caller: &Caller, request: pb::SetAgentLabelsRequest) -> Result<pb::Agent, Problem> {
        let labels = convert::labels("labels", request.labels)?;
        let view = self.find_for_change(&request.agent).await?;
        let detail = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(",");
        let audit = caller.audit("agent.set_labels", format!("agent/{}", view.agent.id), detail);
        let (store, directory) = (self.store.clone(), self.directory.clone());
        let id = view.agent.id;
        // The row and the directory are one thing, also when the caller goes away in between.
        let set = async move {
            let _one = directory.one_change().await;
            let agent = match store.agent_set_labels(id, labels.clone(), audit).await {
                Err(error) if error.may_be_done() => {
                    let there = directory.refresh(&store, id).await;
                    there.filter(|agent| agent.labels == labels).ok_or(error)?
                }
                agent => agent?,
            };
            directory.change(id, |known| known.labels = agent.labels);
            Ok(directory.get(id))
        };
        let set = tokio::spawn(set).await.map_err(broken)?;
        let view_now = set.map_err(|error| gone(error, &view))?;
        view_now.map(|view| view.to_pb()).ok_or_else(|| not_found(&view))
    }

    async fn remove(&self, caller: &Caller, request: &pb::RemoveAgentRequest) -> Result<(), Problem> {
        let view = self.find_for_change(&request.agent).await?;
        let id = view.agent.id;
        let audit = caller.audit(
            "agent.remove",
            format!("agent/{id}"),
            format!("name {}", view.agent.name),
        );
        self.engine.remove_agent(id, audit).await.map_err(|error| match error {
            RemovalError::Store(error) => gone(error, &view),
            RemovalError::Broken(problem) => problem,
        })?;
        self.gate.forget();
        Ok(())
    }
}

fn broken(error: tokio::task::JoinError) -> Problem {
    Problem::new(Reason::Internal).with("detail", error)
}

fn not_found(view: &AgentView) -> Problem {
    Problem::new(Reason::AgentNotFound).with("agent", &view.agent.name)
}

/// Somebody else removed the agent between our look and our write.
fn gone(error: store::Error, view: &AgentView) -> Problem {
    match error {
        store::Error::NotFound { .. } => not_found(view),
        store::Error::Unavailable { .. } | store::Error::Corrupt { .. } | store::Error::Exists { .. } => {
            store_problem(error)
        }
    }
}

fn refuse(language: Language) -> impl Fn(Problem) -> Status {
    move |problem| to_status(&problem, language)
}

#[tonic::async_trait]
impl AgentService for Service {
    type WatchAgentsStream = Pin<Box<dyn Stream<Item = Result<pb::WatchAgentsResponse, Status>> + Send>>;

    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::ListAgents).await?;
        let refuse = refuse(language(request.metadata()));
        let list = self.list(&caller.actor, request.into_inner()).await;
        Ok(Response::new(list.map_err(refuse)?))
    }

    async fn get_agent(&self, request: Request<pb::GetAgentRequest>) -> Result<Response<pb::GetAgentResponse>, Status> {
        self.gate.permit(&request, Rpc::GetAgent).await?;
        let refuse = refuse(language(request.metadata()));
        let view = self.find(&request.into_inner().agent).map_err(refuse)?;
        Ok(Response::new(pb::GetAgentResponse {
            agent: Some(view.to_pb()),
        }))
    }

    async fn watch_agents(
        &self,
        request: Request<pb::WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        let caller = self.gate.permit(&request, Rpc::WatchAgents).await?;
        let hold = self.gate.hold_of(&caller, &request, Rpc::WatchAgents)?;
        let watch = watch::watch(self.directory.clone(), watch::HEARTBEAT, self.stop.clone());
        Ok(Response::new(hold.over(watch)))
    }

    async fn match_agents(
        &self,
        request: Request<pb::MatchAgentsRequest>,
    ) -> Result<Response<pb::MatchAgentsResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::MatchAgents).await?;
        let refuse = refuse(language(request.metadata()));
        let meant = async {
            let selector = Selector::parse(request.into_inner().selector.unwrap_or_default())?;
            targets::meant(&self.directory, &caller.actor, selector).await
        };
        let agents = meant.await.map_err(refuse)?;
        let agents = agents.iter().map(AgentView::to_pb).collect();
        Ok(Response::new(pb::MatchAgentsResponse { agents }))
    }

    async fn set_agent_labels(
        &self,
        request: Request<pb::SetAgentLabelsRequest>,
    ) -> Result<Response<pb::SetAgentLabelsResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::SetAgentLabels).await?;
        let refuse = refuse(language(request.metadata()));
        let agent = self.set_labels(&caller, request.into_inner()).await.map_err(refuse)?;
        Ok(Response::new(pb::SetAgentLabelsResponse { agent: Some(agent) }))
    }

    async fn remove_agent(
        &self,
        request: Request<pb::RemoveAgentRequest>,
    ) -> Result<Response<pb::RemoveAgentResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::RemoveAgent).await?;
        let refuse = refuse(language(request.metadata()));
        self.remove(&caller, request.get_ref()).await.map_err(refuse)?;
        Ok(Response::new(pb::RemoveAgentResponse {}))
    }

    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Result<Response<pb::CreateJoinTokenResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::CreateJoinToken).await?;
        let refuse = refuse(language(request.metadata()));
        Ok(Response::new(
            self.join_tokens
                .create(&caller, request.into_inner())
                .await
                .map_err(refuse)?,
        ))
    }

    async fn list_join_tokens(
        &self,
        request: Request<pb::ListJoinTokensRequest>,
    ) -> Result<Response<pb::ListJoinTokensResponse>, Status> {
        self.gate.permit(&request, Rpc::ListJoinTokens).await?;
        let refuse = refuse(language(request.metadata()));
        Ok(Response::new(
            self.join_tokens.list(request.get_ref()).await.map_err(refuse)?,
        ))
    }

    async fn revoke_join_token(
        &self,
        request: Request<pb::RevokeJoinTokenRequest>,
    ) -> Result<Response<pb::RevokeJoinTokenResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::RevokeJoinToken).await?;
        let refuse = refuse(language(request.metadata()));
        self.join_tokens
            .revoke(&caller, &request.get_ref().id)
            .await
            .map_err(refuse)?;
        Ok(Response::new(pb::RevokeJoinTokenResponse {}))
    }
}
