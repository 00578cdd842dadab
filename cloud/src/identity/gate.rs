//! The gate in front of every handler.

use std::{future::Future, sync::Arc};

use tonic::{Request, Status};

use super::{AgentPeer, Caller};
use crate::{authz::Rpc, store::Store};

/// Authenticates and authorizes. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    #[expect(dead_code, reason = "skeleton")]
    store: Arc<dyn Store>,
}

impl Gate {
    /// Lets a person or program through if the table says so.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a valid login, `PERMISSION_DENIED` with too small a role, `UNAVAILABLE` when the
    /// store cannot be asked.
    pub fn permit<'g, T>(
        &'g self,
        request: &Request<T>,
        rpc: Rpc,
    ) -> impl Future<Output = Result<Caller, Status>> + Send + use<'g, T> {
        let _ = (request.metadata(), rpc);
        async move { Err(Status::unavailable("skeleton")) }
    }

    /// Lets an agent through if its certificate is valid and it was not removed.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an agent certificate, `PERMISSION_DENIED` (`CERTIFICATE_REVOKED`) when it was removed.
    pub fn agent<'g, T>(
        &'g self,
        request: &Request<T>,
        rpc: Rpc,
    ) -> impl Future<Output = Result<AgentPeer, Status>> + Send + use<'g, T> {
        let _ = (request.metadata(), rpc);
        async move { Err(Status::unavailable("skeleton")) }
    }
}
