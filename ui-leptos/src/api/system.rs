//! About this cloud, and its audit.

use opslink::pb::{
    self, audit_service_client::AuditServiceClient, system_service_client::SystemServiceClient,
};

use super::{Answer, answer, channel, request};

/// Version, addresses and CA fingerprint.
pub(crate) async fn system_info() -> Answer<pb::GetSystemInfoResponse> {
    let message = request(pb::GetSystemInfoRequest {});
    answer(SystemServiceClient::new(channel()).get_system_info(message).await)
}

/// A page of audit events, newest first.
pub(crate) async fn list_audit_events(page_token: String) -> Answer<pb::ListAuditEventsResponse> {
    let message = pb::ListAuditEventsRequest { page_size: 100, page_token };
    answer(AuditServiceClient::new(channel()).list_audit_events(request(message)).await)
}
