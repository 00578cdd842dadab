//! `SystemService`: what a client must know before it trusts and logs in.

use std::sync::Arc;

use opslink::{convert, pb, pb::system_service_server::SystemService, time::UnixMicros};
use tonic::{Request, Response, Status};

use crate::{authz::Rpc, identity::Gate, pki::Authority};

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Whose root clients pin.
    pub authority: Arc<Authority>,
    /// Where clients go.
    pub public_url: Arc<str>,
    /// When this process started.
    pub started_at: UnixMicros,
}

#[tonic::async_trait]
impl SystemService for Service {
    async fn get_system_info(
        &self,
        request: Request<pb::GetSystemInfoRequest>,
    ) -> Result<Response<pb::GetSystemInfoResponse>, Status> {
        self.gate.open(&request, Rpc::GetSystemInfo)?;
        Ok(Response::new(pb::GetSystemInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ca_sha256: self.authority.server_root_sha256(),
            public_url: self.public_url.to_string(),
            started_at: Some(convert::timestamp(self.started_at)),
            ca_pem: self.authority.server_root_pem(),
        }))
    }
}
