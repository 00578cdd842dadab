//! One run: a cloud, three agents on their machines, people and a watcher, all on one thread and one clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use opslink::{id::TokenId, time::UnixMicros};
use opslink_agent::identity::Identity;
use opslink_cloud::{
    identity::secret,
    pki::Authority,
    store::{
        Store,
        memory::{MemoryStore, Snapshot},
        record::{Audit, JoinToken, Role, Token},
    },
};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use turmoil::Sim;

use crate::{
    check,
    damage::Sector,
    faults::{Fault, Fired, LATENCY_MAX, LATENCY_MIN},
    hosts,
    machine::Machine,
    net::CLOUD,
    people,
    plan::{AGENTS, DOOMED, Fate, Plan},
    process::{self, Process},
    shared::{API_TOKEN, Shared},
    stage::Stage,
    tally::Tally,
    victims::{Graves, Victims},
    watcher,
    weather::Weather,
};

/// Longest simulated time of a run.
const LIMIT: Duration = Duration::from_secs(400);
/// Step of the simulated clock. Most of the time of a run goes to its steps.
const TICK: Duration = Duration::from_millis(10);
/// Longest wait of the watcher once everything else has ended: some heartbeats.
const WATCHER_ENDS_WITHIN: Duration = Duration::from_secs(60);
/// The host of all runners.
const RUNNERS: &str = "runners";
const JOIN_SECRET: &str = "simulation";

/// What came out of a run.
pub(crate) struct Report {
    /// Hash of everything that happened, with its times.
    pub(crate) trace: String,
    /// The lines of which it is made.
    pub(crate) lines: Vec<String>,
    /// The faults.
    pub(crate) fired: Vec<Fired>,
    /// Further trouble.
    pub(crate) tally: BTreeMap<&'static str, u32>,
}

/// Does one run and checks it.
pub(crate) fn run(seed: u64) -> Report {
    let mut rng = Rng::with_seed(seed);
    // Jitter of both programs; the simulation is one thread.
    fastrand::seed(seed);
    let mut plan = Plan::draw(&mut rng);
    let faults = std::mem::take(&mut plan.faults);
    let base = base();
    UnixMicros::fix_clock(Some(base));

    let (tally, victims) = (Tally::default(), Victims::default());
    let weather = Weather::new(plan.mood, seed, tally.clone(), victims.clone());
    let memory = MemoryStore::with_faults(weather.clone());
    let store = Store::from(memory.clone());
    let (root, join_tokens) = wait(prepare(&store));
    let shared = Shared::new(plan, tally, base, root);
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
    let process = start_cloud(&mut sim, &store, &shared, seed);
    let machines: Vec<_> = (0..AGENTS.len())
        .map(|at| Machine::new(at, &shared, &victims, seed))
        .collect();
    for (at, machine) in machines.iter().enumerate() {
        start_agent(&mut sim, at, machine, &shared, join_tokens[at].clone());
    }
    start_clock(&mut sim, "clock-of-the-rest", 0, &shared);
    sim.host(RUNNERS, {
        let machines = machines.clone();
        move || runners(machines.clone())
    });
    sim.client("people", everybody(shared.clone()));

    let mut director = Director {
        graves: Graves::new(victims, shared.clone(), seed),
        faults,
        memory,
        weather,
        machines,
        process,
        sector: Sector::default(),
        copy: None,
        gone: false,
    };
    loop {
        shared.set_now(base.plus(sim.elapsed()));
        if let Some(process) = &mut director.process {
            process.step(TICK);
        }
        let finished = sim
            .step()
            .unwrap_or_else(|error| panic!("after {:?}: {error}", sim.elapsed()));
        let began = *shared.work_began.lock().unwrap();
        if let Some(began) = began {
            director.step(&mut sim, &shared, shared.now().since(began));
        }
        if finished {
            break;
        }
    }
    drop(sim);
    shared.set_now(shared.now());
    director.weather.set_damaged(None);
    wait(check::everything(&store, &shared));
    UnixMicros::fix_clock(None);
    let lines = shared.take_trace();
    Report {
        trace: blake3::hash(lines.join("\n").as_bytes()).to_hex().to_string(),
        lines,
        fired: director
            .faults
            .iter()
            .filter_map(|fault| fault.fired(&shared.lives))
            .collect(),
        tally: shared.tally.read(),
    }
}

/// The host of the cloud; or that of its card, and the cloud beside it, when it is one that can stand still.
fn start_cloud(sim: &mut Sim<'_>, store: &Store, shared: &Shared, seed: u64) -> Option<Process> {
    let (store, shared) = (store.clone(), shared.clone());
    let Some(kind) = shared.plan.standstill else {
        sim.host(CLOUD, move || hosts::cloud(store.clone(), shared.clone()));
        return None;
    };
    let (process, backlog) = Process::start(seed, kind, store, shared.clone());
    sim.host(CLOUD, move || process::card(shared.meter.clone(), backlog.clone()));
    Some(process)
}

/// People and the watcher, who shall not wait for ever.
async fn everybody(shared: Shared) -> turmoil::Result {
    let watching = tokio::task::spawn_local(watcher::watch(shared.clone()));
    people::work(shared.clone()).await?;
    let watched = tokio::time::timeout(WATCHER_ENDS_WITHIN, watching).await;
    watched.expect("the watcher waits for ever")??;
    Ok(())
}

/// The runners of all machines. They live on when an agent's process dies.
async fn runners(machines: Vec<Arc<Machine>>) -> turmoil::Result {
    let mut work = JoinSet::new();
    for machine in machines {
        work.spawn(machine.work());
    }
    while work.join_next().await.is_some() {}
    Ok(())
}

/// Sets the clock for the hosts that follow, which have their turns in the order in which they were made.
fn start_clock(sim: &mut Sim<'_>, name: &str, off_secs: i64, shared: &Shared) {
    // Steps that cost time, for runs that have no use for them.
    if shared.plan.skew_secs == [0; 3] {
        return;
    }
    let shared = shared.clone();
    sim.host(name, move || {
        let shared = shared.clone();
        async move {
            loop {
                let now = shared.now().0 + off_secs * 1_000_000;
                UnixMicros::fix_clock(Some(UnixMicros(now)));
                // Several times in each step of the simulation.
                tokio::time::sleep(TICK / 4).await;
            }
        }
    });
}

/// The host of an agent's process.
fn start_agent(sim: &mut Sim<'_>, at: usize, machine: &Arc<Machine>, shared: &Shared, join_token: String) {
    start_clock(
        sim,
        &format!("clock-of-{}", AGENTS[at]),
        shared.plan.skew_secs[at],
        shared,
    );
    let identity: Arc<Mutex<Option<Identity>>> = Arc::default();
    let (shared, machine) = (shared.clone(), machine.clone());
    sim.host(AGENTS[at], move || {
        hosts::agent(
            at,
            machine.clone(),
            identity.clone(),
            join_token.clone(),
            shared.clone(),
        )
    });
}

/// Makes what was drawn come true, in its time.
struct Director {
    graves: Graves,
    faults: Vec<Fault>,
    memory: MemoryStore,
    weather: Arc<Weather>,
    machines: Vec<Arc<Machine>>,
    process: Option<Process>,
    sector: Sector,
    copy: Option<Snapshot>,
    gone: bool,
}

impl Director {
    /// `now` counts from the start of the work.
    fn step(&mut self, sim: &mut Sim<'_>, shared: &Shared, now: Duration) {
        if shared.is_over() {
            return;
        }
        if now < shared.plan.over_at {
            self.weather.begin();
        }
        self.graves.step(sim, now);
        self.go_back_in_time(sim, shared, now);
        self.sector.step(&self.memory, &self.weather, shared, now);
        if let Fate::Gone(at) = shared.plan.fate
            && now >= at
            && !self.gone
        {
            self.gone = true;
            shared.tally.count("agent never came back");
            shared.trace("the last machine dies for good");
            // Its runners are cut off with it: nobody hears of them any more.
            self.graves.bury(sim, DOOMED, None);
        }
        let mut stage = Stage {
            sim,
            shared,
            graves: &mut self.graves,
            weather: &self.weather,
            machines: &self.machines,
            process: self.process.as_mut(),
        };
        for fault in &mut self.faults {
            fault.step(&mut stage, now);
        }
        if now >= shared.plan.over_at && self.faults.iter().all(Fault::is_over) {
            self.weather.end();
            if self.graves.is_quiet() && self.sector.is_quiet(&shared.plan) {
                shared.set_over();
            }
        }
    }

    /// The database fails over to a copy that is some seconds old.
    fn go_back_in_time(&mut self, sim: &mut Sim<'_>, shared: &Shared, now: Duration) {
        let Some(failover) = shared.plan.failover else { return };
        if now >= failover.copied_at && now < failover.at && self.copy.is_none() {
            self.copy = Some(self.memory.snapshot());
        }
        if now >= failover.at
            && let Some(copy) = self.copy.take()
        {
            shared.tally.count("database went back in time");
            shared.trace("the database goes back in time");
            self.memory.restore(copy);
            if failover.restarts {
                self.graves.bury(sim, CLOUD, Some(now + Duration::from_millis(500)));
            }
        }
    }
}

/// Tells which seed it was, and what had happened.
struct OnPanic(u64, Shared);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, trace) = (self.0, self.1.take_trace().join("\n"));
            eprintln!("{trace}\nseed {seed} failed; again: OPSLINK_SIM_SEED={seed} cargo test -p opslink --test sim\n");
        }
    }
}

/// The simulated time at which every run begins, a constant of the process: certificates are checked by the real clock.
/// Whole seconds.
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

/// Puts the authority, join tokens and an API token into the store.
async fn prepare(store: &Store) -> (CertificateDer<'static>, Vec<String>) {
    let authority = Authority::load(store).await.expect("keys can be made");
    let now = UnixMicros::now();
    let ends = now.plus(Duration::from_secs(7 * 24 * 3_600));
    let audit = || Audit::system("test.prepare", String::new(), String::new());
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
            request_id: None,
        };
        store.join_token_insert(token, audit()).await.expect("stored");
        tokens.push(format!("olj1.{}.{id}.{JOIN_SECRET}", authority.server_root_sha256()));
    }
    (authority.server_root().clone(), tokens)
}
