//! `LogService`: stored output.

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb, pb::log_service_server::LogService, problem::Problem};
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

#[tonic::async_trait]
impl LogService for Service {
    async fn list_chunks(
        &self,
        request: Request<pb::ListChunksRequest>,
    ) -> Result<Response<pb::ListChunksResponse>, Status> {
        self.gate.permit(&request, Rpc::ListChunks).await?;
        let language = language(request.metadata());
        let chunks = self.engine.list_chunks(request.into_inner()).await;
        chunks
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }

    type ReadLogStream = BoxStream<'static, Result<pb::ReadLogResponse, Status>>;

    async fn read_log(&self, request: Request<pb::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        self.gate.permit(&request, Rpc::ReadLog).await?;
        let language = language(request.metadata());
        let to_status = move |problem: Problem| to_status(&problem, language);
        let chunks = self.engine.read_log(request.into_inner()).await.map_err(to_status)?;
        Ok(Response::new(chunks.map(move |chunk| chunk.map_err(to_status)).boxed()))
    }
}
