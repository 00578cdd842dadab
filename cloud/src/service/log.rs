//! `LogService`: stored output.

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb, pb::log_service_server::LogService, problem::Problem};
use tonic::{Request, Response, Status};

use super::task::{decode, encode};
use crate::{
    authz::Rpc,
    identity::Gate,
    status::{language, to_status},
    task::Engine,
};

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
        let to_status = |problem: Problem| to_status(&problem, language);
        let request = decode::chunks(request.into_inner()).map_err(to_status)?;
        let chunks = self.engine.list_chunks(request).await.map_err(to_status)?;
        Ok(Response::new(encode::chunks(chunks)))
    }

    type ReadLogStream = BoxStream<'static, Result<pb::ReadLogResponse, Status>>;

    async fn read_log(&self, request: Request<pb::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let caller = self.gate.permit(&request, Rpc::ReadLog).await?;
        let hold = self.gate.hold_of(&caller, &request, Rpc::ReadLog)?;
        let language = language(request.metadata());
        let to_status = move |problem: Problem| to_status(&problem, language);
        let resource = format!("attempt/{}", request.get_ref().attempt_id);
        let request = decode::read_log(request.into_inner());
        let pieces = self.engine.read_log(request, hold.weight()).await;
        let pieces = pieces.map_err(to_status)?;
        // Only of what there is: the id of nothing is anybody's text.
        self.gate.note(&caller, "task.read_output", resource);
        Ok(Response::new(hold.over(
            pieces.map(move |piece| piece.map(encode::piece).map_err(to_status)),
        )))
    }
}
