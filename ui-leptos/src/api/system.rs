//! What was done by whom.

use opslink::pb;

use super::{Answer, call::call};
use crate::logic::methods;

/// A page of audit events, newest first.
pub(crate) async fn list_audit_events(page_token: String) -> Answer<pb::ListAuditEventsResponse> {
    let message = pb::ListAuditEventsRequest {
        page_size: 100,
        page_token,
    };
    call(methods::LIST_AUDIT_EVENTS, message).await
}
