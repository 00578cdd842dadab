//! What was done by whom.

use opslink::pb::{self, audit_service_client::AuditServiceClient};

use super::{Answer, answer, channel, request};

/// A page of audit events, newest first.
pub(crate) async fn list_audit_events(page_token: String) -> Answer<pb::ListAuditEventsResponse> {
    let message = pb::ListAuditEventsRequest {
        page_size: 100,
        page_token,
    };
    answer(
        AuditServiceClient::new(channel())
            .list_audit_events(request(message))
            .await,
    )
}
