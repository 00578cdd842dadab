//! Agent and cloud without a protocol version in common: both say so, and neither burns the other.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use opslink::{
    id::AgentId,
    locale::Language,
    pb::{
        self,
        attach_request::Frame,
        link_service_client::LinkServiceClient,
        link_service_server::{LinkService, LinkServiceServer},
    },
    session::handshake::{self, Versions},
};
use opslink_agent::{
    dial::{self, Address, Tcp},
    identity::{FreshKey, Identity},
    policy, tls,
};
use opslink_cloud::{
    pki::Authority,
    status::to_status,
    store::{Store, memory::MemoryStore},
    tls::{self as edge, Limits, TcpAcceptor, config::CurrentCertificate},
};
use opslink_harness::{Agent, Fleet, wait_for};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::support::LIMIT;

/// What a future generation speaks.
const OTHER: Versions = Versions { min: 7, max: 8 };

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

#[test]
fn an_agent_of_another_generation_is_refused_with_both_ranges() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let agent = fleet.join_agent("future", "env=prod", &fleet.cloud.url)?;
    let identity = Identity::load(&agent.state().join("identity.json"))?;
    let status = runtime()?.block_on(async {
        let tls = tls::mutual_tls(&identity)?;
        let channel = dial::dial(&Tcp::default(), &Address::parse(&fleet.cloud.url)?, tls).await?;
        let hello = pb::Hello {
            min_version: OTHER.min,
            max_version: OTHER.max,
            ..Default::default()
        };
        let first = pb::AttachRequest {
            frame: Some(Frame::Hello(hello)),
        };
        let frames = tokio_stream::once(first);
        let refused = LinkServiceClient::new(channel).attach(frames).await.err();
        refused.context("a refusal")
    })?;
    let problem = opslink_agent::join::status_problem(&Address::parse(&fleet.cloud.url)?, &status);
    assert_eq!(problem.reason.code(), "VERSION_UNSUPPORTED", "{status:?}");
    assert_eq!(problem.args["offered"], "7..8");
    assert_eq!(problem.args["supported"], "1..1");
    wait_for("the cloud to say so", LIMIT, || {
        let log = std::fs::read_to_string(fleet.cloud.log()).unwrap_or_default();
        log.contains("link was refused") && log.contains("VERSION_UNSUPPORTED")
    })?;
    let list = fleet.ctl.run(["agent", "list", "-o", "json"])?.expect(0)?.text();
    assert!(list.contains("AGENT_STATUS_OFFLINE"), "{list}");
    Ok(())
}

/// A cloud that speaks only versions to come, behind the real TLS of a real one.
#[derive(Clone, Default)]
struct Future(Arc<AtomicU32>);

#[tonic::async_trait]
impl LinkService for Future {
    type AttachStream = BoxStream<pb::AttachResponse>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let first = request.into_inner().message().await?;
        let Some(Frame::Hello(hello)) = first.and_then(|first| first.frame) else {
            return Err(Status::invalid_argument("no Hello"));
        };
        self.0.fetch_add(1, Ordering::SeqCst);
        let offered = Versions {
            min: hello.min_version,
            max: hello.max_version,
        };
        match handshake::choose(offered, OTHER) {
            Err(problem) => Err(to_status(&problem, Language::En)),
            Ok(version) => Err(Status::internal(format!("version {version} was not to be found"))),
        }
    }

    async fn renew_certificate(
        &self,
        _request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves the future cloud and joins an agent to it; returns the agent's state folder.
async fn future_cloud(folder: &Path, future: Future, stop: CancellationToken) -> Result<std::path::PathBuf> {
    let store: Store = Store::from(MemoryStore::new());
    let authority = Arc::new(Authority::load(&store).await?);
    let certificate = CurrentCertificate::new(authority.issue_server(&["127.0.0.1".to_owned()], SystemTime::now())?)?;
    let config = edge::config::server_config(Arc::clone(&authority), certificate, Arc::new(|_| true))?;
    let listener = TcpAcceptor::bind("127.0.0.1:0".parse()?)?;
    let url = format!("https://{}", listener.local_addr()?);
    let router = tonic::service::Routes::new(LinkServiceServer::new(future)).into_axum_router();
    tokio::spawn(edge::serve(
        listener,
        Some(config),
        router,
        Limits::default(),
        stop,
        TaskTracker::new(),
    ));

    let (id, key) = (AgentId::new(), FreshKey::generate()?);
    let issued = authority.issue_agent(id, &key.csr_der, SystemTime::now())?;
    let answer = pb::JoinResponse {
        agent_id: id.to_string(),
        agent_name: "old".to_owned(),
        certificate_chain_der: issued.chain.iter().map(|der| der.to_vec().into()).collect(),
        ca_der: vec![authority.server_root().to_vec().into()],
        task_signing_keys: vec![authority.task_public_key().to_vec().into()],
    };
    let state = folder.join("old");
    std::fs::create_dir_all(&state)?;
    Identity::from_join(url, key, answer)?.save(&state.join("identity.json"))?;
    std::fs::write(state.join(policy::FILE_NAME), policy::template())?;
    std::fs::write(state.join("connections.toml"), "")?;
    Ok(state)
}

#[test]
fn an_agent_that_its_cloud_does_not_understand_any_more_says_so_and_waits_for_long() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = runtime()?;
    let (future, stop) = (Future::default(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let state = runtime.block_on(future_cloud(folder.path(), future.clone(), stop))?;
    let mut agent = Agent::joined("old", state);
    agent.launch()?;
    let said = || std::fs::read_to_string(agent.log()).unwrap_or_default();
    wait_for("the agent to say why", LIMIT, || said().contains("VERSION_UNSUPPORTED"))?;
    for words in ["1..1", "7..8", "goes on trying"] {
        assert!(said().contains(words), "`{words}` is missing in:\n{}", said());
    }
    // Other trouble is tried again within two seconds.
    let again = wait_for("another try", Duration::from_secs(5), || {
        future.0.load(Ordering::SeqCst) > 1
    });
    assert!(again.is_err(), "it waits for minutes");
    assert!(!agent.has_ended(), "an upgraded cloud shall find it");
    Ok(())
}
