//! The stack in front of the services, top-down.
//!
//! 1. gRPC-web, for the console. Only around the services: it answers 400 to everything on HTTP/1 that is not gRPC-web.
//! 2. Credentials, by the headers alone (`headers`): nobody without them has a body read, no body takes for ever, and what
//!    comes and is not taken has room (`room`).
//! 3. The services, each with its own limits of message size; each handler begins with its gate.
//! 4. Reflection and health, open to everybody.
//! 5. What nobody took: the console, or `UNIMPLEMENTED` for gRPC clients. A session makes the connection known before.
//!
//! Who is at the other end is put into each request by the accept loop (`tls`), before all of this.

use std::sync::Arc;

use axum::{Router, extract::Request};
use opslink::pb::{
    self, agent_service_server::AgentServiceServer, audit_service_server::AuditServiceServer,
    auth_service_server::AuthServiceServer, enrollment_service_server::EnrollmentServiceServer,
    link_service_server::LinkServiceServer, log_service_server::LogServiceServer,
    system_service_server::SystemServiceServer, task_service_server::TaskServiceServer,
    token_service_server::TokenServiceServer,
};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;

use super::{
    Cloud, background,
    headers::{self, Headers},
    sizes::{ANSWER_MAX, ANYBODY_MAX, CONTROL_MAX, CREATE_TASK_MAX, FRAME_MAX},
};
use crate::{
    gateway,
    service::{
        agent, audit, auth, enroll, join_token::JoinTokens, link, log, renew_expired::ExpiredRenewals, system, task,
        token,
    },
};

macro_rules! limited {
    ($server:expr, $decode:expr) => {
        $server
            .max_decoding_message_size($decode)
            .max_encoding_message_size(ANSWER_MAX)
    };
}

pub(super) fn router(cloud: &Arc<Cloud>) -> Router {
    let gate = || cloud.gate.clone();
    let store = || cloud.store.clone();
    // Lists are read by what reads for callers, so that they keep none of the engine's readers.
    let for_callers = || cloud.store.for_callers();
    let authority = || Arc::clone(&cloud.authority);

    let agents = agent::Service {
        gate: gate(),
        store: store(),
        lookups: for_callers(),
        directory: cloud.directory.clone(),
        engine: cloud.engine.clone(),
        join_tokens: JoinTokens {
            store: for_callers(),
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
        expired: ExpiredRenewals::new(
            store(),
            authority(),
            cloud.directory.clone(),
            cloud.engine.links().clone(),
        ),
        joins: enroll::Joins::new(cloud.trail.clone()),
    };
    let auth = auth::Service {
        gate: gate(),
        accounts: Arc::clone(&cloud.accounts),
    };
    let tokens = token::Service {
        gate: gate(),
        store: for_callers(),
    };
    let system = system::Service {
        gate: gate(),
        authority: authority(),
        public_url: Arc::clone(&cloud.public_url),
        started_at: cloud.started_at,
    };
    let audit = audit::Service {
        gate: gate(),
        store: for_callers(),
    };
    let tasks = task::Service::new(gate(), cloud.engine.clone());
    let logs = log::Service::new(gate(), cloud.engine.clone());
    let links = link::Service::new(gate(), cloud.engine.clone(), authority(), cloud.trail.clone());

    let services = Routes::new(limited!(AgentServiceServer::new(agents), CONTROL_MAX))
        .add_service(limited!(EnrollmentServiceServer::new(enrollment), ANYBODY_MAX))
        .add_service(limited!(AuthServiceServer::new(auth), ANYBODY_MAX))
        .add_service(limited!(TokenServiceServer::new(tokens), CONTROL_MAX))
        .add_service(limited!(SystemServiceServer::new(system), ANYBODY_MAX))
        .add_service(limited!(AuditServiceServer::new(audit), CONTROL_MAX))
        .add_service(limited!(TaskServiceServer::new(tasks), CREATE_TASK_MAX))
        .add_service(limited!(LogServiceServer::new(logs), CONTROL_MAX))
        .add_service(limited!(LinkServiceServer::new(links), FRAME_MAX));
    let services = reflection(services).add_service(limited!(background::health(cloud), ANYBODY_MAX));
    let headers = Headers::new(gate(), cloud.directory.clone());

    services
        .into_axum_router()
        .route_layer(axum::middleware::from_fn_with_state(headers.clone(), headers::check))
        .route_layer(GrpcWebLayer::new())
        .fallback(move |request: Request| async move {
            headers.recognise(request.headers(), request.extensions()).await;
            gateway::fallback(request).await
        })
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
        (Ok(v1), Ok(v1alpha)) => routes
            .add_service(limited!(v1, ANYBODY_MAX))
            .add_service(limited!(v1alpha, ANYBODY_MAX)),
        (Err(error), _) | (_, Err(error)) => {
            // The descriptor is ours and a test asks for it: this is never seen outside of one.
            tracing::error!(%error, "reflection is not available");
            routes
        }
    }
}
