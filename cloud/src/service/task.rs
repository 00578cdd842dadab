//! `TaskService`: create, read, watch, cancel and retry tasks.

use futures::{StreamExt, stream::BoxStream};
use opslink::{locale::Language, pb, pb::task_service_server::TaskService, problem::Problem};
use tonic::{Request, Response, Status};

use crate::{
    authz::Rpc,
    identity::Gate,
    status::{language, to_status},
    task::{Engine, request::Output},
};

pub(crate) mod decode;
pub(crate) mod encode;

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
        let created = self.engine.create(&caller, decode::create(request.into_inner())).await;
        answer(created.and_then(encode::created), language)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::GetTaskResponse>, Status> {
        self.gate.permit(&request, Rpc::GetTask).await?;
        let language = language(request.metadata());
        let task = self.engine.get(&request.into_inner().id).await.and_then(encode::task);
        answer(task.map(|task| pb::GetTaskResponse { task: Some(task) }), language)
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        self.gate.permit(&request, Rpc::ListTasks).await?;
        let language = language(request.metadata());
        let tasks = async { self.engine.list(decode::list(request.get_ref())?).await };
        answer(tasks.await.map(encode::tasks), language)
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        self.gate.permit(&request, Rpc::ListExecutions).await?;
        let language = language(request.metadata());
        let executions = async {
            let request = decode::executions(request.into_inner())?;
            self.engine.list_executions(request).await
        };
        answer(executions.await.map(encode::executions), language)
    }

    type WatchTaskStream = BoxStream<'static, Result<pb::WatchTaskResponse, Status>>;

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let caller = self.gate.permit(&request, Rpc::WatchTask).await?;
        let hold = self.gate.hold_of(&caller, &request, Rpc::WatchTask)?;
        let language = language(request.metadata());
        let to_status = move |problem: Problem| to_status(&problem, language);
        let request = decode::watch(request.into_inner()).map_err(to_status)?;
        let reads = (request.output != Output::Nothing).then(|| format!("task/{}", request.task));
        let watch = self.engine.watch(&caller, request, hold.weight()).await;
        let watch = watch.map_err(to_status)?;
        // Only of what there is: the id of nothing is anybody's text.
        if let Some(resource) = reads {
            self.gate.note(&caller, "task.read_output", resource);
        }
        let messages = watch.map(move |sent| sent.and_then(encode::sent).map_err(to_status));
        Ok(Response::new(hold.over(messages)))
    }

    async fn cancel_task(
        &self,
        request: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::CancelTask).await?;
        let language = language(request.metadata());
        let task = async {
            let request = decode::cancel(request.into_inner())?;
            encode::task(self.engine.cancel(&caller, request).await?)
        };
        answer(
            task.await.map(|task| pb::CancelTaskResponse { task: Some(task) }),
            language,
        )
    }

    async fn retry_task(
        &self,
        request: Request<pb::RetryTaskRequest>,
    ) -> Result<Response<pb::RetryTaskResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::RetryTask).await?;
        let language = language(request.metadata());
        let retried = async {
            let request = decode::retry(request.into_inner())?;
            self.engine.retry(&caller, request).await
        };
        answer(retried.await.and_then(encode::retried), language)
    }
}
