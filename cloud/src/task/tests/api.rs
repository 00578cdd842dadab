//! The engine as callers reach it: requests are decoded and answers encoded, as the services do it.

use std::ops::Deref;

use futures::{Stream, StreamExt};
use opslink::{pb, problem::Problem};

use super::bench::caller;
use crate::{
    identity::{Caller, StreamWeight},
    service::task::{decode, encode},
    task::Engine,
};

#[derive(Clone)]
pub(super) struct Api(pub(super) Engine);

impl Deref for Api {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.0
    }
}

impl Api {
    pub(super) async fn create(
        &self,
        caller: &Caller,
        request: pb::CreateTaskRequest,
    ) -> Result<pb::CreateTaskResponse, Problem> {
        encode::created(self.0.create(caller, decode::create(request)).await?)
    }

    pub(super) async fn retry(
        &self,
        caller: &Caller,
        request: pb::RetryTaskRequest,
    ) -> Result<pb::RetryTaskResponse, Problem> {
        encode::retried(self.0.retry(caller, decode::retry(request)?).await?)
    }

    pub(super) async fn cancel(&self, caller: &Caller, request: pb::CancelTaskRequest) -> Result<pb::Task, Problem> {
        encode::task(self.0.cancel(caller, decode::cancel(request)?).await?)
    }

    pub(super) async fn get(&self, id: &str) -> Result<pb::Task, Problem> {
        encode::task(self.0.get(id).await?)
    }

    pub(super) async fn list(&self, request: pb::ListTasksRequest) -> Result<pb::ListTasksResponse, Problem> {
        Ok(encode::tasks(self.0.list(decode::list(&request)?).await?))
    }

    pub(super) async fn list_executions(
        &self,
        request: pb::ListExecutionsRequest,
    ) -> Result<pb::ListExecutionsResponse, Problem> {
        let page = self.0.list_executions(decode::executions(request)?).await?;
        Ok(encode::executions(page))
    }

    pub(super) async fn watch(
        &self,
        request: pb::WatchTaskRequest,
    ) -> Result<impl Stream<Item = Result<pb::WatchTaskResponse, Problem>> + Send + use<>, Problem> {
        self.watch_weighing(request, StreamWeight::default()).await
    }

    pub(super) async fn watch_weighing(
        &self,
        request: pb::WatchTaskRequest,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<pb::WatchTaskResponse, Problem>> + Send + use<>, Problem> {
        let watch = self.0.watch(&caller(), decode::watch(request)?, weight).await?;
        Ok(watch.map(|sent| sent.and_then(encode::sent)))
    }

    pub(super) async fn list_chunks(&self, request: pb::ListChunksRequest) -> Result<pb::ListChunksResponse, Problem> {
        Ok(encode::chunks(self.0.list_chunks(decode::chunks(request)?).await?))
    }

    pub(super) async fn read_log(
        &self,
        request: pb::ReadLogRequest,
    ) -> Result<impl Stream<Item = Result<pb::ReadLogResponse, Problem>> + Send + use<>, Problem> {
        self.read_log_weighing(request, StreamWeight::default()).await
    }

    pub(super) async fn read_log_weighing(
        &self,
        request: pb::ReadLogRequest,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<pb::ReadLogResponse, Problem>> + Send + use<>, Problem> {
        let pieces = self.0.read_log(decode::read_log(request), weight).await?;
        Ok(pieces.map(|piece| piece.map(encode::piece)))
    }
}
