//! The way to the cloud: one TCP connection, our own TLS with the pinned CA, HTTP/2, and the generated clients on it.

mod dial;
mod endpoint;
pub(crate) mod tls;

use std::{sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use opslink::pb::{
    agent_service_client::AgentServiceClient, audit_service_client::AuditServiceClient,
    auth_service_client::AuthServiceClient, log_service_client::LogServiceClient,
    system_service_client::SystemServiceClient, task_service_client::TaskServiceClient,
    token_service_client::TokenServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint as TonicEndpoint},
};
use tower::service_fn;

pub(crate) use dial::{DialError, Dialer};
pub(crate) use endpoint::Endpoint;

use crate::{
    failure::{Failure, find_source},
    text,
};

/// A `LogChunk` is at most 512 KiB on the wire, a page of executions may be larger.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// Room for a whole burst of chunks: a stream is read in bulk and stalls only when our own stdout does.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// What every call carries.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    authorization: Option<MetadataValue<Ascii>>,
    accept_language: MetadataValue<Ascii>,
}

impl Headers {
    fn new(token: Option<&str>) -> Result<Self, Failure> {
        let authorization = token
            .map(|token| {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                    .parse()
                    .map_err(|_| Failure::usage("TOKEN_MALFORMED", &[]))?;
                value.set_sensitive(true);
                Ok::<_, Failure>(value)
            })
            .transpose()?;
        Ok(Self {
            authorization,
            accept_language: MetadataValue::from_static(text::language().tag()),
        })
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
            .metadata_mut()
            .insert("accept-language", self.accept_language.clone());
        Ok(request)
    }
}

/// What the generated clients run on.
pub(crate) type Transport = InterceptedService<Channel, Headers>;

/// One connection to a cloud, with the caller's token. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    transport: Transport,
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $client:ident),* $(,)?) => {
        impl Client {
            $($(#[$doc])*
            pub(crate) fn $name(&self) -> $client<Transport> {
                $client::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
            })*
        }
    };
}

clients! {
    /// Tasks.
    tasks: TaskServiceClient,
    /// Stored output.
    logs: LogServiceClient,
    /// Agents and join tokens.
    agents: AgentServiceClient,
    /// Logging in and out.
    auth: AuthServiceClient,
    /// API tokens.
    tokens: TokenServiceClient,
    /// Who did what.
    audit: AuditServiceClient,
    /// About the cloud.
    system: SystemServiceClient,
}

impl Client {
    /// Connects. Fails at once when the cloud cannot be reached: waiting is the caller's choice.
    pub(crate) async fn connect(dialer: Arc<Dialer>, token: Option<&str>) -> Result<Self, Failure> {
        let headers = Headers::new(token)?;
        let endpoint = dialer.endpoint();
        // The connector below ignores the URI and brings its own TLS; `origin` is what the requests carry.
        let tonic_endpoint = TonicEndpoint::from_shared(format!("http://{}", endpoint.authority()))
            .and_then(|target| target.user_agent(concat!("cloudctl/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| Failure::unexpected(&error.to_string()))?
            .origin(endpoint.origin())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let connector = service_fn(move |_| {
            let dialer = Arc::clone(&dialer);
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let channel = tonic_endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| {
                find_source::<DialError>(&error)
                    .map_or_else(|| Failure::unexpected(&error.to_string()), DialError::to_failure)
            })?;
        Ok(Self {
            transport: InterceptedService::new(channel, headers),
        })
    }

    /// The transport itself, for calls that are known only at run time.
    pub(crate) fn transport(&self) -> Transport {
        self.transport.clone()
    }
}
