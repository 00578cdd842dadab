//! The stack in front of the services, top-down.
//!
//! 1. gRPC-web, for the console. Only around the services: it answers 400 to everything on HTTP/1 that is not gRPC-web.
//! 2. The services, each with its own limits of message size; each handler begins with its gate.
//! 3. Reflection and health, open to everybody.
//! 4. What nobody took: the console, or `UNIMPLEMENTED` for gRPC clients.
//!
//! Who is at the other end is put into each request by the accept loop (`tls`), before all of this.

use std::sync::Arc;

use axum::Router;
use opslink::pb::{
    self, agent_service_server::AgentServiceServer, audit_service_server::AuditServiceServer,
    auth_service_server::AuthServiceServer, enrollment_service_server::EnrollmentServiceServer,
    link_service_server::LinkServiceServer, log_service_server::LogServiceServer,
    system_service_server::SystemServiceServer, task_service_server::TaskServiceServer,
    token_service_server::TokenServiceServer,
};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;

use super::{Cloud, background};
use crate::{
    gateway,
    service::{
        agent, audit, auth, enroll, join_token::JoinTokens, link, log, renew_expired::ExpiredRenewals, system, task,
        token,
    },
};

/// Largest request of most calls.
const CONTROL_MAX: usize = 1 << 20;
/// A task carries a script or statements of up to 512 KiB, beside environment and standard input.
const CREATE_TASK_MAX: usize = 2 << 20;
/// One frame of a link: the largest chunk that a runner can make, and its header. A smaller limit would have its agent
/// send it again for ever.
const FRAME_MAX: usize = opslink::chunk::PAYLOAD_MAX + (64 << 10);
/// Largest answer: 1,000 agents or 10,000 chunk headers.
const ANSWER_MAX: usize = 16 << 20;

macro_rules! limited {
    ($server:expr, $decode:expr) => {
        $server
            .max_decoding_message_size($decode)
            .max_encoding_message_size(ANSWER_MAX)
    };
}

pub(super) fn router(cloud: &Arc<Cloud>) -> Router {
    let gate = || cloud.gate.clone();
    let store = || Arc::clone(&cloud.store);
    let authority = || Arc::clone(&cloud.authority);

    let agents = agent::Service {
        gate: gate(),
        store: store(),
        directory: cloud.directory.clone(),
        engine: cloud.engine.clone(),
        join_tokens: JoinTokens {
            store: store(),
            authority: authority(),
            public_url: Arc::clone(&cloud.public_url),
        },
        stop: cloud.stop.clone(),
    };
    let enrollment = enroll::Service {
        gate: gate(),
        store: store(),
        authority: authority(),
        directory: cloud.directory.clone(),
        expired: ExpiredRenewals::new(store(), authority(), cloud.directory.clone()),
    };
    let auth = auth::Service {
        gate: gate(),
        accounts: Arc::clone(&cloud.accounts),
    };
    let tokens = token::Service {
        gate: gate(),
        store: store(),
    };
    let system = system::Service {
        gate: gate(),
        authority: authority(),
        public_url: Arc::clone(&cloud.public_url),
        started_at: cloud.started_at,
    };
    let audit = audit::Service {
        gate: gate(),
        store: store(),
    };
    let tasks = task::Service::new(gate(), cloud.engine.clone());
    let logs = log::Service::new(gate(), cloud.engine.clone());
    let links = link::Service::new(gate(), cloud.engine.clone(), authority());

    let services = Routes::new(limited!(AgentServiceServer::new(agents), CONTROL_MAX))
        .add_service(limited!(EnrollmentServiceServer::new(enrollment), CONTROL_MAX))
        .add_service(limited!(AuthServiceServer::new(auth), CONTROL_MAX))
        .add_service(limited!(TokenServiceServer::new(tokens), CONTROL_MAX))
        .add_service(limited!(SystemServiceServer::new(system), CONTROL_MAX))
        .add_service(limited!(AuditServiceServer::new(audit), CONTROL_MAX))
        .add_service(limited!(TaskServiceServer::new(tasks), CREATE_TASK_MAX))
        .add_service(limited!(LogServiceServer::new(logs), CONTROL_MAX))
        .add_service(limited!(LinkServiceServer::new(links), FRAME_MAX));
    let services = reflection(services).add_service(background::health(cloud));

    services
        .into_axum_router()
        .route_layer(GrpcWebLayer::new())
        .fallback(gateway::fallback)
        // Built once here instead of at every connection.
        .with_state(())
}

/// Adds reflection in both versions: grpcurl before 1.9 and many tools speak only the older one.
fn reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            // The descriptor is ours and a test asks for it: this is never seen outside of one.
            tracing::error!(%error, "reflection is not available");
            routes
        }
    }
}
