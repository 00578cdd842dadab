//! One run: a cloud, two agents on their machines, a client and a watcher, all on one thread and one clock.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use opslink::{id::TokenId, pb, problem::Problem, reason::Reason, time::UnixMicros};
use opslink_agent::{
    identity::Identity,
    join::{self, JoinOptions},
    policy::Policy,
    run::{Agent, Rules},
};
use opslink_cloud::{
    identity::secret,
    pki::Authority,
    server::{Cloud, Settings},
    store::{
        Store,
        memory::MemoryStore,
        record::{Audit, JoinToken, Role, Token},
    },
    task,
    tls::{self, Limits},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    check, client,
    faults::{Fault, Fired, LATENCY_MAX, LATENCY_MIN},
    machine::Machine,
    net::{CLOUD, Dialer, Door, Meter, PORT},
    script::{AGENTS, Job},
};

/// Longest simulated time of a run: five times the longest redial pause.
const LIMIT: Duration = Duration::from_secs(300);
/// Step of the simulated clock.
const TICK: Duration = Duration::from_millis(5);
/// The simulated time at which every run begins, a constant of the process: certificates are checked by the real clock.
const API_TOKEN: &str = "olp_simulation";
const JOIN_SECRET: &str = "simulation";

/// What all hosts of a run share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

/// See [`Shared`].
pub(crate) struct Inner {
    /// Bytes on the wires.
    pub(crate) meter: Meter,
    /// What was asked.
    pub(crate) jobs: Vec<Job>,
    /// Times each agent was welcomed.
    pub(crate) ups: Mutex<BTreeMap<&'static str, u32>>,
    /// Times each task was started on each agent.
    pub(crate) starts: Mutex<BTreeMap<(String, &'static str), u32>>,
    /// Id of the first task, once it is known.
    pub(crate) first_task: Mutex<Option<String>>,
    /// What the watcher got, by attempt.
    pub(crate) watched: Mutex<BTreeMap<String, Vec<pb::LogChunk>>>,
    /// When the work began.
    pub(crate) work_began: Mutex<Option<UnixMicros>>,
    /// Every fault is over.
    pub(crate) faults_over: Mutex<bool>,
    base: UnixMicros,
    root: rustls::pki_types::CertificateDer<'static>,
    cuts: Mutex<Vec<&'static str>>,
    cut_done: Mutex<Vec<&'static str>>,
    trace: Mutex<Vec<String>>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    /// Writes a line of the trace.
    pub(crate) fn trace(&self, line: impl std::fmt::Display) {
        let line = format!("{:>9} {line}", self.relative(UnixMicros::now()));
        self.trace.lock().unwrap().push(line);
    }

    /// Microseconds of simulated time.
    pub(crate) fn relative(&self, time: UnixMicros) -> i64 {
        time.0 - self.base.0
    }

    /// Notes that an executor was started.
    pub(crate) fn started(&self, marker: String, agent: &'static str) {
        self.trace(format_args!("{agent} starts {}", marker.trim_end()));
        *self.starts.lock().unwrap().entry((marker, agent)).or_default() += 1;
    }

    /// Asks the cloud to close an agent's link.
    pub(crate) fn cut(&self, agent: &'static str) {
        self.cuts.lock().unwrap().push(agent);
    }

    /// Says whether it did, which it does only when there was a link.
    pub(crate) fn was_cut(&self, agent: &'static str) -> bool {
        self.cuts.lock().unwrap().clear();
        std::mem::take(&mut *self.cut_done.lock().unwrap()).contains(&agent)
    }

    /// Makes the way of a client to the API.
    pub(crate) fn api(&self, host: &str) -> client::Api {
        client::Api::new(host, self.meter.clone(), &self.root, API_TOKEN)
    }
}

/// What came out of a run.
pub(crate) struct Report {
    /// Hash of everything that happened, with its times.
    pub(crate) trace: String,
    /// The lines of which it is made.
    pub(crate) lines: Vec<String>,
    /// The faults.
    pub(crate) fired: Vec<Fired>,
}

/// Does one run and checks it.
pub(crate) fn run(seed: u64) -> Report {
    let mut rng = Rng::with_seed(seed);
    // Jitter of both programs; the simulation is one thread.
    fastrand::seed(seed);
    let jobs = Job::draw(&mut rng);
    let mut faults = Fault::draw(&mut rng);
    let base = base();
    UnixMicros::fix_clock(Some(base));

    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (root, join_token) = wait(prepare(&store));
    let shared = Shared(Arc::new(Inner {
        meter: Meter::default(),
        jobs,
        ups: Mutex::default(),
        starts: Mutex::default(),
        first_task: Mutex::default(),
        watched: Mutex::default(),
        work_began: Mutex::default(),
        faults_over: Mutex::default(),
        base,
        root,
        cuts: Mutex::default(),
        cut_done: Mutex::default(),
        trace: Mutex::default(),
    }));

    let _told = OnPanic(seed, shared.clone());
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(LIMIT)
        .tick_duration(TICK)
        .min_message_latency(LATENCY_MIN)
        .max_message_latency(LATENCY_MAX)
        // Messages, not bytes; a full queue would be a fault that nobody asked for.
        .tcp_capacity(65_536)
        .build();
    sim.host(CLOUD, {
        let (store, shared) = (store.clone(), shared.clone());
        move || cloud(store.clone(), shared.clone())
    });
    for name in AGENTS {
        let machine = Machine::new(name, &shared);
        let identity: Arc<Mutex<Option<Identity>>> = Arc::default();
        let runners = machine.clone();
        sim.host(format!("{name}-runners"), move || {
            let machine = runners.clone();
            async move {
                machine.work().await;
                Ok(())
            }
        });
        let (shared, join_token) = (shared.clone(), join_token.clone());
        sim.host(name, move || {
            agent(
                name,
                machine.clone(),
                identity.clone(),
                join_token.clone(),
                shared.clone(),
            )
        });
    }
    sim.client("client", client::work(shared.clone()));
    sim.client("watcher", client::watch(shared.clone()));

    let mut fired = Vec::new();
    loop {
        UnixMicros::fix_clock(Some(base.plus(sim.elapsed())));
        let finished = sim
            .step()
            .unwrap_or_else(|error| panic!("after {:?}: {error}", sim.elapsed()));
        let began = *shared.work_began.lock().unwrap();
        if let Some(began) = began {
            let now = UnixMicros::now().since(began);
            for fault in &mut faults {
                fired.extend(fault.step(&mut sim, &shared, now));
            }
            *shared.faults_over.lock().unwrap() = faults.iter().all(Fault::is_over);
        }
        if finished {
            break;
        }
    }
    drop(sim);
    wait(check::everything(&*store, &shared));
    UnixMicros::fix_clock(None);
    let lines = std::mem::take(&mut *shared.trace.lock().unwrap());
    Report {
        trace: blake3::hash(lines.join("\n").as_bytes()).to_hex().to_string(),
        lines,
        fired,
    }
}

/// Tells which seed it was, and what had happened.
struct OnPanic(u64, Shared);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace = self.1.trace.lock().map(|lines| lines.join("\n")).unwrap_or_default();
            let seed = self.0;
            eprintln!("{trace}\nseed {seed} failed; again: OPSLINK_SIM_SEED={seed} cargo test -p opslink --test sim");
        }
    }
}

/// Whole seconds, the same for all runs of this process.
fn base() -> UnixMicros {
    use std::sync::LazyLock;
    static BASE: LazyLock<UnixMicros> = LazyLock::new(|| {
        UnixMicros::fix_clock(None);
        UnixMicros(UnixMicros::now().0 / 1_000_000 * 1_000_000)
    });
    *BASE
}

/// Runs what waits for nothing.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made")
        .block_on(work)
}

/// Puts the authority, a join token and an API token into the store.
async fn prepare(store: &Arc<dyn Store>) -> (rustls::pki_types::CertificateDer<'static>, String) {
    let authority = Authority::load(store).await.expect("keys can be made");
    let now = UnixMicros::now();
    let ends = now.plus(Duration::from_secs(7 * 24 * 3_600));
    let audit = || Audit {
        time: now,
        actor: "system".into(),
        actor_role: None,
        action: "test.prepare",
        resource: String::new(),
        detail: String::new(),
        peer: String::new(),
    };
    let token = Token {
        id: TokenId::new(),
        name: "simulation".into(),
        secret_hash: secret::hash(API_TOKEN).to_vec(),
        role: Role::Admin,
        created_by: "system".into(),
        created_at: now,
        expires_at: ends,
        last_used_at: None,
        revoked: false,
    };
    store.token_insert(token, audit()).await.expect("stored");
    let mut tokens = Vec::new();
    for name in AGENTS {
        let id = TokenId::new();
        let token = JoinToken {
            id,
            secret_hash: secret::hash(JOIN_SECRET).to_vec(),
            labels: BTreeMap::new(),
            agent_name: name.into(),
            created_by: "system".into(),
            created_at: now,
            expires_at: ends,
            used: None,
            revoked: false,
        };
        store.join_token_insert(token, audit()).await.expect("stored");
        tokens.push(format!("olj1.{}.{id}.{JOIN_SECRET}", authority.server_root_sha256()));
    }
    (authority.server_root().clone(), tokens.join(" "))
}

async fn cloud(store: Arc<dyn Store>, shared: Shared) -> turmoil::Result {
    let door = Door::open(shared.meter.clone()).await?;
    let stop = CancellationToken::new();
    let link = opslink_cloud::link::Config {
        heartbeat: Duration::from_secs(2),
        ..Default::default()
    };
    let settings = Settings {
        public_url: format!("https://{CLOUD}:{PORT}"),
        names: vec![CLOUD.into()],
        initial_password_file: None,
        tasks: task::Config {
            link,
            ..Default::default()
        },
        agent_certificates: Default::default(),
    };
    let cloud = Cloud::assemble(store, settings, stop.clone()).await?;
    shared.trace("the cloud is there");
    let cutter = {
        let (cloud, shared) = (cloud.clone(), shared.clone());
        async move {
            loop {
                let cut = shared.cuts.lock().unwrap().pop();
                if let Some(agent) = cut.and_then(|name| Some((name, cloud.directory.find(name)?)))
                    && cloud.engine.links().is_live(agent.1.agent.id)
                {
                    cloud
                        .engine
                        .links()
                        .disconnect(agent.1.agent.id, Problem::new(Reason::Overloaded));
                    shared.cut_done.lock().unwrap().push(agent.0);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let serving = tls::serve(
        door,
        Some(cloud.tls()),
        cloud.router(),
        Limits::default(),
        stop,
        TaskTracker::new(),
    );
    tokio::select! {
        biased;
        () = serving => Ok(()),
        () = cutter => Ok(()),
    }
}

async fn agent(
    name: &'static str,
    machine: Arc<Machine>,
    identity: Arc<Mutex<Option<Identity>>>,
    join_tokens: String,
    shared: Shared,
) -> turmoil::Result {
    let dialer = Arc::new(Dialer {
        host: name.into(),
        meter: shared.meter.clone(),
    });
    let known = identity.lock().unwrap().clone();
    let known = match known {
        Some(known) => known,
        None => {
            let at = AGENTS.iter().position(|agent| *agent == name).unwrap_or(0);
            let token = join_tokens.split(' ').nth(at).unwrap_or_default().to_owned();
            let options = JoinOptions {
                url: format!("https://{CLOUD}:{PORT}"),
                token,
                name: None,
            };
            let joined = join::enroll(&options, &*dialer).await?;
            *identity.lock().unwrap() = Some(joined.clone());
            joined
        }
    };
    let agent = Agent {
        identity: known,
        identity_path: None,
        launcher: machine,
        rules: Rules::Fixed(Policy::permissive()),
        connect: dialer,
        on_up: Box::new(move || {
            shared.trace(format_args!("{name} is up"));
            *shared.ups.lock().unwrap().entry(name).or_default() += 1;
        }),
    };
    agent.run(CancellationToken::new()).await?;
    Ok(())
}
