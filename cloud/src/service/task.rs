//! `TaskService`: create, read, watch, cancel and retry tasks.

use futures::{StreamExt, stream::BoxStream};
use opslink::{locale::Language, pb, pb::task_service_server::TaskService, problem::Problem};
use tonic::{Request, Response, Status};

use super::status::{language, to_status};
use crate::{authz::Rpc, identity::Gate, task::Engine};

/// The service.
pub struct Service {
    gate: Gate,
    engine: Engine,
}

impl Service {
    /// Puts the service in front of an engine.
    pub const fn new(gate: Gate, engine: Engine) -> Self {
        Self { gate, engine }
    }
}

fn answer<T>(result: Result<T, Problem>, language: Language) -> Result<Response<T>, Status> {
    result
        .map(Response::new)
        .map_err(|problem| to_status(&problem, language))
}

#[tonic::async_trait]
impl TaskService for Service {
    async fn create_task(
        &self,
        request: Request<pb::CreateTaskRequest>,
    ) -> Result<Response<pb::CreateTaskResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::CreateTask).await?;
        let language = language(request.metadata());
        answer(self.engine.create(&caller, request.into_inner()).await, language)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::GetTaskResponse>, Status> {
        self.gate.permit(&request, Rpc::GetTask).await?;
        let language = language(request.metadata());
        let task = self.engine.get(&request.into_inner().id).await;
        answer(task.map(|task| pb::GetTaskResponse { task: Some(task) }), language)
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        self.gate.permit(&request, Rpc::ListTasks).await?;
        let language = language(request.metadata());
        answer(self.engine.list(request.into_inner()).await, language)
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        self.gate.permit(&request, Rpc::ListExecutions).await?;
        let language = language(request.metadata());
        answer(self.engine.list_executions(request.into_inner()).await, language)
    }

    type WatchTaskStream = BoxStream<'static, Result<pb::WatchTaskResponse, Status>>;

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        self.gate.permit(&request, Rpc::WatchTask).await?;
        let language = language(request.metadata());
        let watch = self.engine.watch(request.into_inner()).await;
        let to_status = move |problem: Problem| to_status(&problem, language);
        let messages = watch.map_err(to_status)?.map(move |message| message.map_err(to_status));
        Ok(Response::new(messages.boxed()))
    }

    async fn cancel_task(
        &self,
        request: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::CancelTask).await?;
        let language = language(request.metadata());
        let task = self.engine.cancel(&caller, request.into_inner()).await;
        answer(task.map(|task| pb::CancelTaskResponse { task: Some(task) }), language)
    }

    async fn retry_task(
        &self,
        request: Request<pb::RetryTaskRequest>,
    ) -> Result<Response<pb::RetryTaskResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::RetryTask).await?;
        let language = language(request.metadata());
        answer(self.engine.retry(&caller, request.into_inner()).await, language)
    }
}
