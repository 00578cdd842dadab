//! Many agents in one process, each with its own identity and its own mutual TLS link, for benchmarks and load tests.
//!
//! Attempts run inside the process and the journal is in memory: what is measured is the cloud and the link.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use opslink::{
    pb::{self, CreateJoinTokenRequest, agent_service_client::AgentServiceClient},
    problem::Problem,
    reason::Reason,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use crate::{
    connections::{Connections, Secret},
    dial::{self, Address, Tcp},
    executor,
    identity::Identity,
    join::{self, JoinToken, dial_problem, status_problem},
    launch::InProcess,
    policy::Policy,
    run::{Agent, Rules},
};

/// Joins and first links that are under way at the same time.
const AT_ONCE: usize = 64;

/// What a simulation needs to know.
#[derive(Debug, Clone)]
pub struct SimulateOptions {
    /// `https://host:port`.
    pub url: String,
    /// How many agents.
    pub agents: usize,
    /// An API token with the role admin: join tokens are made with it.
    pub api_token: Option<Secret>,
    /// SHA-256 of the cloud's CA certificate, hexadecimal.
    pub ca_sha256: Option<String>,
    /// Where identities are kept for the next run.
    pub identities: Option<PathBuf>,
    /// Names are this and a number.
    pub prefix: String,
}

/// Joins what has not joined, links all, calls `on_ready` when every agent was welcomed, and runs until `stop` fires.
///
/// # Errors
/// The first agent that cannot join, or that only an operator can help.
pub async fn simulate(
    options: &SimulateOptions,
    stop: CancellationToken,
    on_ready: impl FnOnce(),
) -> Result<(), Problem> {
    let identities = identities(options).await?;
    let count = identities.len();
    let executors = Arc::from(executor::all());
    let up = Arc::new(AtomicUsize::new(0));
    let (progress, mut seen) = watch::channel(0);
    let progress = Arc::new(progress);
    let mut agents = JoinSet::new();
    let mut on_ready = Some(on_ready);
    for (number, identity) in identities.into_iter().enumerate() {
        let first = std::sync::Once::new();
        let (up, progress) = (Arc::clone(&up), Arc::clone(&progress));
        let agent = Agent {
            identity,
            identity_path: None,
            launcher: Arc::new(InProcess::new(Arc::clone(&executors), Arc::new(Connections::default()))),
            rules: Rules::Fixed(Policy::permissive()),
            connect: Arc::new(Tcp::default()),
            on_up: Box::new(move || {
                first.call_once(|| {
                    progress.send_replace(up.fetch_add(1, Ordering::Relaxed) + 1);
                });
            }),
        };
        agents.spawn(agent.run(stop.clone()));
        wait_until(&mut agents, &mut seen, number.saturating_sub(AT_ONCE)).await?;
    }
    wait_until(&mut agents, &mut seen, count).await?;
    if let Some(on_ready) = on_ready.take() {
        on_ready();
    }
    while let Some(ended) = agents.join_next().await {
        ended.map_err(|error| Problem::new(Reason::Internal).with("detail", error))??;
    }
    Ok(())
}

/// Waits until so many agents were welcomed; ends early when one fails.
async fn wait_until(
    agents: &mut JoinSet<Result<(), Problem>>,
    seen: &mut watch::Receiver<usize>,
    wanted: usize,
) -> Result<(), Problem> {
    tokio::select! {
        biased;
        reached = seen.wait_for(|up| *up >= wanted) => {
            reached.map(drop).map_err(|error| Problem::new(Reason::Internal).with("detail", error))
        }
        Some(ended) = agents.join_next() => {
            ended.map_err(|error| Problem::new(Reason::Internal).with("detail", error))?
        }
    }
}

/// Loads what is kept and joins the rest.
async fn identities(options: &SimulateOptions) -> Result<Vec<Identity>, Problem> {
    let mut found = Vec::with_capacity(options.agents);
    let mut missing = Vec::new();
    for number in 0..options.agents {
        let name = format!("{}{number:05}", options.prefix);
        let path = options
            .identities
            .as_deref()
            .map(|folder| folder.join(format!("{name}.json")));
        match path.as_deref().map(Identity::load) {
            Some(Ok(identity)) => found.push(identity),
            _ => missing.push((name, path)),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    if let Some(folder) = &options.identities {
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    }
    let need = |what: &str| {
        Problem::new(Reason::ConfigInvalid)
            .with("setting", what)
            .with("detail", "it is needed to join")
    };
    let token = options.api_token.clone().ok_or_else(|| need("--api-token"))?;
    let ca = options.ca_sha256.as_deref().ok_or_else(|| need("--ca-sha256"))?;
    let mut ca_sha256 = [0; 32];
    hex::decode_to_slice(ca, &mut ca_sha256).map_err(|_| need("--ca-sha256"))?;

    let address = Address::parse(&options.url).map_err(|error| {
        Problem::new(Reason::ConfigInvalid)
            .with("setting", "URL")
            .with("detail", dial::chain_text(&error))
    })?;
    // One connection for all joins: each agent's own link comes after.
    let tls = join::pinned_tls(ca_sha256).map_err(|error| dial_problem(&address, &error))?;
    let channel = dial::dial(&Tcp::default(), &address, tls)
        .await
        .map_err(|error| dial_problem(&address, &error))?;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut joins = JoinSet::new();
    for (name, path) in missing {
        let (channel, address, token, room) = (channel.clone(), address.clone(), token.clone(), Arc::clone(&room));
        joins.spawn(async move {
            // Never closed.
            let _permit = room.acquire().await;
            let identity = join_one(channel, &address, &token, name).await?;
            if let Some(path) = path {
                identity.save(&path).map_err(|error| unwritable(&path, &error))?;
            }
            Ok::<_, Problem>(identity)
        });
    }
    while let Some(joined) = joins.join_next().await {
        found.push(joined.map_err(|error| Problem::new(Reason::Internal).with("detail", error))??);
    }
    Ok(found)
}

async fn join_one(channel: Channel, address: &Address, token: &Secret, name: String) -> Result<Identity, Problem> {
    let mut request = Request::new(CreateJoinTokenRequest {
        labels: [("simulated".to_owned(), "true".to_owned())].into(),
        agent_name: name.clone(),
        ttl_secs: 3600,
        request_id: String::new(),
    });
    let bearer: MetadataValue<_> = format!("Bearer {}", token.expose())
        .parse()
        .map_err(|_| Problem::new(Reason::Unauthenticated))?;
    request.metadata_mut().insert("authorization", bearer);
    let pb::CreateJoinTokenResponse { token, .. } = AgentServiceClient::new(channel.clone())
        .create_join_token(request)
        .await
        .map_err(|status| status_problem(address, &status))?
        .into_inner();
    join::enroll_over(channel, address, &JoinToken::parse(&token)?, name).await
}

fn unwritable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(Reason::StateFolderUnusable)
        .with("path", path.display())
        .with("detail", dial::chain_text(error))
}
