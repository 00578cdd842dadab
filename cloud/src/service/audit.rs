//! `AuditService`: what was done by whom, newest first.

use opslink::{convert, pb, pb::audit_service_server::AuditService, problem::Problem};
use tonic::{Request, Response, Status};

use super::{page, role_to_pb};
use crate::{
    authz::Rpc,
    identity::Gate,
    status::{bad_field, language, store_problem, to_status},
    store::{Store, record::AuditRow},
};

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Where audit rows are kept.
    pub store: Store,
}

impl Service {
    async fn list(&self, request: &pb::ListAuditEventsRequest) -> Result<pb::ListAuditEventsResponse, Problem> {
        let size = page::size(request.page_size, 100, 1000)?;
        let before = page::after(&request.page_token)?
            .map(|token| {
                token
                    .parse::<i64>()
                    .map_err(|_| bad_field("page_token", "is none of this list"))
            })
            .transpose()?;
        let limit = u32::try_from(size).unwrap_or(u32::MAX);
        let rows = self.store.audit_list(before, limit).await.map_err(store_problem)?;
        // The store answers with less than a page when rows are long: the list ends with the first row, or an empty page.
        let last = rows.last().filter(|row| row.id > 1);
        let next_page_token = last.map(|row| page::token(&row.id.to_string())).unwrap_or_default();
        Ok(pb::ListAuditEventsResponse {
            events: rows.into_iter().map(to_pb).collect(),
            next_page_token,
        })
    }
}

fn to_pb(row: AuditRow) -> pb::AuditEvent {
    pb::AuditEvent {
        id: u64::try_from(row.id).unwrap_or(0),
        time: Some(convert::timestamp(row.time)),
        actor: row.actor,
        actor_role: row.actor_role.map_or(pb::Role::Unspecified, role_to_pb).into(),
        action: row.action,
        resource: row.resource,
        detail: row.detail,
        peer: row.peer,
    }
}

#[tonic::async_trait]
impl AuditService for Service {
    async fn list_audit_events(
        &self,
        request: Request<pb::ListAuditEventsRequest>,
    ) -> Result<Response<pb::ListAuditEventsResponse>, Status> {
        self.gate.permit(&request, Rpc::ListAuditEvents).await?;
        let language = language(request.metadata());
        let listed = self.list(request.get_ref()).await;
        listed
            .map(Response::new)
            .map_err(|problem| to_status(&problem, language))
    }
}
