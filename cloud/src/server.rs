//! The cloud, wired together once, top-down: what there is ([`Cloud`]), what stands in front of it (`stack`), and how
//! it starts and stops ([`run`], [`Running`]).

mod answer;
mod background;
mod body;
mod first_login;
mod going;
mod headers;
mod prepare;
mod private;
mod reading;
mod room;
mod sizes;
mod stack;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use opslink::{problem::Problem, reason::Reason, time::UnixMicros};
use rustls::ServerConfig;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    agents::Directory,
    config::Serve,
    crash::crashpoint,
    identity::{Accounts, FirstPassword, Gate, IsLiving, Trail},
    pki::{AgentCertificates, Authority},
    retention,
    status::{agents_problem, pki_problem},
    store::{Store, sql::DatabaseLock},
    task::{Config as TaskConfig, Engine, Signer},
    tls::{self, Limits, TcpAcceptor, config::CurrentCertificate},
};

/// Everything that a running cloud consists of, without its sockets.
pub struct Cloud {
    /// What outlives the process.
    pub store: Store,
    /// The living agents.
    pub directory: Directory,
    /// Tasks and links.
    pub engine: Engine,
    /// In front of every handler.
    pub gate: Gate,
    /// Where refusals are kept.
    pub trail: Trail,
    /// People.
    pub accounts: Arc<Accounts>,
    /// Certificates.
    pub authority: Arc<Authority>,
    /// Where agents and clients go.
    pub public_url: Arc<str>,
    /// When this process started.
    pub started_at: UnixMicros,
    /// Ends everything.
    pub stop: CancellationToken,
    certificate: Arc<CurrentCertificate>,
    tls: Arc<ServerConfig>,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloud")
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

/// What a cloud is told about itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// URL for agents and clients.
    pub public_url: String,
    /// Names and addresses in the server's certificate.
    pub names: Vec<String>,
    /// Removed once the first password is changed.
    pub initial_password_file: Option<PathBuf>,
    /// Limits of tasks and links.
    pub tasks: TaskConfig,
    /// Terms of agents' certificates.
    pub agent_certificates: AgentCertificates,
}

impl Cloud {
    /// Puts a cloud together over this store. Opens no socket, so the simulation uses it as it is: see
    /// [`Self::router`], [`Self::tls`] and [`tls::serve`].
    ///
    /// # Errors
    /// What the store or the certificate authority says.
    pub async fn assemble(store: Store, settings: Settings, stop: CancellationToken) -> Result<Arc<Self>, Problem> {
        let authority = Authority::load(&store).await.map_err(pki_problem)?;
        let authority = Arc::new(authority.with_terms(settings.agent_certificates));
        let signer = Signer::from_pkcs8(authority.task_signing_key())
            .map_err(|error| Problem::new(Reason::Internal).with("detail", error))?;
        let directory = Directory::load(store.clone()).await.map_err(agents_problem)?;
        let trail = Trail::start(store.clone(), stop.child_token());
        // A removed agent has left the directory before its removal is answered, so it never gets in again.
        let living = directory.clone();
        let is_living: IsLiving = Arc::new(move |agent| living.get(agent).is_some());
        let gate = Gate::new(
            store.clone(),
            Arc::clone(&authority),
            trail.clone(),
            Arc::clone(&is_living),
        );
        let accounts = Accounts::new(
            store.clone(),
            gate.clone(),
            trail.clone(),
            settings.initial_password_file,
        );
        let engine = Engine::start(
            store.clone(),
            directory.clone(),
            signer,
            settings.tasks,
            stop.child_token(),
        );

        let made = authority
            .issue_server(&settings.names, SystemTime::now())
            .map_err(pki_problem)?;
        let renew_at = made.renew_at;
        let tls_problem = |error| Problem::new(Reason::Internal).with("detail", error);
        let certificate = CurrentCertificate::new(made).map_err(tls_problem)?;
        let tls = tls::config::server_config(Arc::clone(&authority), Arc::clone(&certificate), is_living)
            .map_err(tls_problem)?;

        let cloud = Arc::new(Self {
            store,
            directory,
            engine,
            gate,
            trail,
            accounts: Arc::new(accounts),
            authority,
            public_url: settings.public_url.into(),
            started_at: UnixMicros::now(),
            stop,
            certificate,
            tls,
        });
        tokio::spawn(background::renew_certificate(
            Arc::clone(&cloud),
            settings.names,
            renew_at,
        ));
        // Ends with `stop`.
        tokio::spawn(retention::run(cloud.store.clone(), cloud.stop.child_token()));
        Ok(cloud)
    }

    /// Returns everything that is served on a connection.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        stack::router(self)
    }

    /// Returns the TLS settings of the main port.
    pub fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }
}

/// A cloud with its sockets. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    /// Address of the TLS port.
    pub addr: SocketAddr,
    /// Address of the plain port.
    pub plain_addr: Option<SocketAddr>,
    /// URL of the TLS port on this machine.
    pub url: String,
    /// URL of the plain port.
    pub plain_url: Option<String>,
    /// SHA-256 of the CA, hexadecimal.
    pub ca_sha256: String,
    /// The generated password, on the first start.
    pub first_password: Option<FirstPassword>,
    /// What is served.
    pub cloud: Arc<Cloud>,
    connections: TaskTracker,
    stop: DropGuard,
    /// Held to the end of this value, also when the stop takes its time.
    database_lock: Option<DatabaseLock>,
}

/// Starts a cloud: data folder, sockets, store, certificates, and then the doors open.
///
/// # Errors
/// A problem in three lines for whoever starts it: port in use, data folder not writable or in use, database URL
/// wrong, disk full.
pub async fn run(config: &Serve) -> Result<Running, Problem> {
    prepare::check(config)?;
    prepare::data_folder(&config.data)?;
    private::close(&config.data)?;
    // Before the database: a port in use is found in no time. Connections wait until we accept.
    let listener = prepare::bind(config.listen)?;
    let plain = config.plain_listen.map(prepare::bind).transpose()?;
    let addr = local(&listener)?;
    let plain_addr = plain.as_ref().map(local).transpose()?;

    let (store, database_lock) = prepare::store(config).await?;
    crashpoint!("server.store_open");
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let url = prepare::url("https", addr);
    let settings = Settings {
        public_url: config.public_url.clone().unwrap_or_else(|| url.clone()),
        names: prepare::certificate_names(config),
        initial_password_file: Some(first_login::file(&config.data)),
        tasks: TaskConfig {
            lost_after: config.lost_after,
            ..TaskConfig::default()
        },
        agent_certificates: AgentCertificates {
            lifetime: config.agent_certificate_ttl,
            window: config.expired_certificate_window,
        },
    };
    let cloud = Cloud::assemble(store, settings, stop.clone()).await?;
    prepare::publish_ca(&config.data, &cloud.authority)?;
    // What the start has made, too: the database above all.
    private::close(&config.data)?;
    let first_password = cloud.accounts.first_admin(config.dev_admin_password.as_deref()).await?;
    if let Some(first) = &first_password {
        first_login::write(&config.data, first)?;
    }

    let connections = TaskTracker::new();
    let router = cloud.router();
    let limits = Limits::of_this_process();
    // Both loops end with `stop`; their connections are in `connections`.
    tokio::spawn(tls::serve(
        listener,
        Some(cloud.tls()),
        router.clone(),
        limits,
        stop.clone(),
        connections.clone(),
    ));
    if let Some(plain) = plain {
        tokio::spawn(tls::serve(
            plain,
            None,
            router,
            limits,
            stop.clone(),
            connections.clone(),
        ));
    }
    Ok(Running {
        addr,
        plain_addr,
        url,
        plain_url: plain_addr.map(|addr| prepare::url("http", addr)),
        ca_sha256: cloud.authority.server_root_sha256(),
        first_password,
        cloud,
        connections,
        stop: guard,
        database_lock,
    })
}

impl Running {
    /// Waits until this cloud must not go on: another one works on its database. Drop it then, without waiting for
    /// calls under way, which would write beside the other.
    pub async fn must_end(&self) -> Problem {
        match &self.database_lock {
            Some(lock) => Problem::new(Reason::DatabaseInUse).with("url", lock.lost().await),
            None => std::future::pending().await,
        }
    }

    /// Stops: no new connections, links are told to come back later, calls under way may finish for some seconds.
    pub async fn shutdown(self) {
        // What the engine has queued is not acknowledged yet, so agents keep it.
        self.cloud.engine.links().drain(std::time::Duration::from_secs(2));
        drop(self.stop);
        self.connections.close();
        if tokio::time::timeout(std::time::Duration::from_secs(5), self.connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections.len(),
                "some connections did not end in time"
            );
        }
    }
}

fn local(listener: &TcpAcceptor) -> Result<SocketAddr, Problem> {
    listener.local_addr().map_err(|error| {
        Problem::new(Reason::ConfigInvalid)
            .with("setting", "--listen")
            .with("detail", error)
    })
}
