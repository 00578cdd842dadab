//! A warm gRPC client over TLS, as a program that embeds the API would hold it.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use opslink::pb::{self, task_service_client::TaskServiceClient, watch_task_response::Event};
use opslink_harness::{Cloud, Ctl};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tonic::{
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// A client that holds one connection.
pub(crate) struct Client {
    tasks: TaskServiceClient<Channel>,
    token: MetadataValue<tonic::metadata::Ascii>,
}

impl Client {
    /// Connects as a fresh API token of the admin.
    pub(crate) async fn connect(cloud: &Cloud, ctl: &Ctl) -> Result<Self> {
        let body = serde_json::json!({ "name": format!("bench-{}", std::process::id()), "role": "ROLE_ADMIN" });
        let answer = match ctl.api("opslink.v1.TokenService/CreateToken", &body) {
            Ok(answer) => answer,
            // The second client of the same run.
            Err(_) => {
                let name = format!("bench-{}-{:?}", std::process::id(), Instant::now());
                ctl.api(
                    "opslink.v1.TokenService/CreateToken",
                    &serde_json::json!({ "name": name, "role": "ROLE_ADMIN" }),
                )?
            }
        };
        let secret = answer
            .get("secret")
            .and_then(|secret| secret.as_str())
            .context("secret")?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(cloud.data().join("ca.pem"))?)?;
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let address = cloud.address().to_owned();
        let connector = tower::service_fn(move |_| {
            let (tls, address) = (tls.clone(), address.clone());
            async move {
                let tcp = TcpStream::connect(&address).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::try_from("127.0.0.1").map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{}", cloud.address()))?;
        let channel = endpoint.connect_with_connector(connector).await?;
        let token = format!("Bearer {secret}").parse()?;
        Ok(Self {
            tasks: TaskServiceClient::new(channel).max_decoding_message_size(64 << 20),
            token,
        })
    }

    /// Runs an action on what a selector matches; returns the time from submit to the end of everything, durable.
    pub(crate) async fn run(&mut self, spec: pb::TaskSpec, selector: pb::Selector) -> Result<(f64, pb::Task)> {
        let started = Instant::now();
        let create = pb::CreateTaskRequest {
            spec: Some(spec),
            selector: Some(selector),
            ..Default::default()
        };
        let task_id = self.create(create).await?;
        let task = self.ended(task_id).await?;
        Ok((started.elapsed().as_secs_f64(), task))
    }

    /// Creates a task; returns its id.
    pub(crate) async fn create(&mut self, create: pb::CreateTaskRequest) -> Result<String> {
        let created = self.tasks.create_task(self.request(create)).await?.into_inner();
        Ok(created.task.context("a task")?.id)
    }

    /// Waits for the end of a task, durable.
    pub(crate) async fn ended(&mut self, task_id: String) -> Result<pb::Task> {
        let watch = pb::WatchTaskRequest {
            task_id,
            ..Default::default()
        };
        let mut events = self.tasks.watch_task(self.request(watch)).await?.into_inner();
        let mut last = None;
        while let Some(message) = events.message().await? {
            if let Some(Event::Task(task)) = message.event {
                last = Some(task);
            }
        }
        last.context("the task's end")
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

/// `true`, as a task.
pub(crate) fn true_spec() -> pb::TaskSpec {
    let shell = pb::ShellSpec {
        argv: vec!["true".into()],
        ..Default::default()
    };
    pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
        ..Default::default()
    }
}

/// A fake of these steps, as a task.
pub(crate) fn fake_spec(steps: impl IntoIterator<Item = pb::fake_step::Step>) -> pb::TaskSpec {
    let steps = steps
        .into_iter()
        .map(|step| pb::FakeStep { step: Some(step) })
        .collect();
    pb::TaskSpec {
        action: Some(pb::task_spec::Action::Fake(pb::FakeSpec { steps })),
        ..Default::default()
    }
}

/// Executions of a task that ended well.
pub(crate) fn succeeded(task: &pb::Task) -> u32 {
    let good = task
        .counts
        .iter()
        .filter(|count| count.state() == pb::ExecutionState::Succeeded);
    good.map(|count| count.count).sum()
}

/// One agent, by name.
pub(crate) fn named(name: &str) -> pb::Selector {
    pb::Selector {
        names: vec![name.to_owned()],
        ..Default::default()
    }
}

/// Every agent.
pub(crate) fn everyone() -> pb::Selector {
    pb::Selector {
        all: true,
        ..Default::default()
    }
}
