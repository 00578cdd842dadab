//! `cargo xtask demo`: everything built, a cloud and three agents running, the main job done for real.

mod job;

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use opslink_harness::{Agent, Cloud, Ctl, cloud, fleet, process, wait_for};

use crate::{lint::cargo, paths, step::Steps, ui};

/// The demo's fleet: name and labels of each agent.
const AGENTS: [(&str, &str); 3] = [
    ("prod", "env=prod,dc=bj"),
    ("shanghai", "env=prod,dc=sh"),
    ("staging", "env=staging,dc=bj"),
];

#[derive(Args)]
pub(crate) struct Options {
    /// Run the main job and leave; the exit code tells how it went.
    #[arg(long)]
    once: bool,
    /// Build optimised binaries (slower to build, faster to run).
    #[arg(long)]
    release: bool,
    /// Do not build the web console.
    #[arg(long)]
    no_console: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let stop = stop_flag()?;
    let profile = if options.release { "release" } else { "dev" };
    let folder = paths::target().join("demo");
    let mut steps = Steps::new(if options.no_console { 4 } else { 5 });

    if !options.no_console {
        steps.step("build the web console (the first time takes some minutes)", || {
            ui::build(&ui::Options::default())
        })?;
    }
    steps.step(
        "build opslink-cloud, opslink-agent and cloudctl (the first time takes some minutes)",
        || build(profile),
    )?;
    // The harness looks for our binaries here; nothing else runs in this process yet.
    let bins = paths::bins(profile);

    let password = password(&folder)?;
    let cloud = steps.step("start the cloud", || {
        opslink_harness::programs::use_bins(&bins);
        start_cloud(&folder, &password)
    })?;
    let ctl = Ctl::login(&cloud, folder.join("cloudctl"), &password)?;
    let mut agents = steps.step("start three agents: prod, shanghai, staging", || {
        start_agents(&folder, &cloud, &ctl)
    })?;
    let code = steps.step("run the main job", || job::run(&ctl))?;

    if options.once {
        return Ok(code);
    }
    farewell(&cloud, &ctl, &password, &bins, &steps.elapsed());
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(100));
        for agent in &mut agents {
            if agent.has_ended() {
                println!(
                    "agent {} has ended; what it said is in {}",
                    agent.name,
                    agent.log().display()
                );
                agent.stop();
            }
        }
    }
    println!("\nending the demo …");
    Ok(ExitCode::SUCCESS)
}

fn build(profile: &str) -> Result<()> {
    let packages = ["-p", "opslink-cloud", "-p", "opslink-agent", "-p", "cloudctl"];
    process::run(cargo().args(["build", "--bins", "--profile", profile]).args(packages))
}

/// Ctrl-C ends the demo in order: the flag is seen, and dropping the agents and the cloud ends their processes.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// The admin's password of this demo: made once, kept in the demo's folder.
fn password(folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)?;
    let file = folder.join("password");
    if let Ok(password) = fs::read_to_string(&file) {
        return Ok(password);
    }
    let random = fs::read("/proc/sys/kernel/random/uuid").context("read a random number")?;
    let password = format!("demo-{}", String::from_utf8_lossy(random.get(..13).unwrap_or(&random)));
    fs::write(&file, &password)?;
    Ok(password)
}

fn start_cloud(folder: &Path, password: &str) -> Result<Cloud> {
    let mut options = cloud::Options::new(folder.join("cloud"));
    options.password = password.to_owned();
    options.listen = free_or_any("127.0.0.1:7443");
    options.plain_listen = Some(free_or_any("127.0.0.1:7480"));
    Cloud::start(options)
}

/// Returns the address when it is free, else the same host with a port of the system's choice.
fn free_or_any(address: &str) -> String {
    match std::net::TcpListener::bind(address) {
        Ok(_) => address.to_owned(),
        Err(_) => "127.0.0.1:0".to_owned(),
    }
}

fn start_agents(folder: &Path, cloud: &Cloud, ctl: &Ctl) -> Result<Vec<Agent>> {
    let mut agents = Vec::new();
    for (name, labels) in AGENTS {
        let state = folder.join("agents").join(name);
        let mut agent =
            joined_before(name, &state, cloud).map_or_else(|| join(name, labels, &state, cloud, ctl), Ok)?;
        agent.start()?;
        agents.push(agent);
    }
    wait_for("all agents to be online", Duration::from_secs(20), || {
        ctl.run(["agent", "list", "-o", "json"])
            .is_ok_and(|list| list.text().matches("AGENT_STATUS_ONLINE").count() >= AGENTS.len())
    })?;
    Ok(agents)
}

/// A second start finds the identities of the first, as long as the cloud is where they know it to be.
fn joined_before(name: &str, state: &Path, cloud: &Cloud) -> Option<Agent> {
    let url = fs::read_to_string(state.join("demo-cloud-url")).ok()?;
    (url == cloud.url).then(|| Agent::joined(name, state))
}

fn join(name: &str, labels: &str, state: &Path, cloud: &Cloud, ctl: &Ctl) -> Result<Agent> {
    if state.exists() {
        // The cloud has moved to another port: the agent has to join again, under the same name.
        fs::remove_dir_all(state)?;
        let _ = ctl.run(["agent", "remove", name, "--yes"])?;
    }
    fs::create_dir_all(state.parent().unwrap_or(state))?;
    let token = fleet::join_token(ctl, name, labels)?;
    let agent = Agent::join(name, state, &cloud.url, &token)?;
    let database: PathBuf = agent.state().join("demo.db");
    agent.set_connections(&[("main", &format!("sqlite://{}", database.display()))])?;
    fs::write(state.join("demo-cloud-url"), &cloud.url)?;
    Ok(agent)
}

fn farewell(cloud: &Cloud, ctl: &Ctl, password: &str, bins: &Path, elapsed: &str) {
    let bold = |text: &str| {
        if std::io::stdout().is_terminal() {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let console = cloud.plain_url.as_deref().unwrap_or(&cloud.url);
    println!("\nOpsLink is up after {elapsed}.\n");
    println!("  console    {}", bold(console));
    println!("  login      {} / {}", bold("admin"), bold(password));
    println!(
        "  cloud      {} (gRPC, gRPC-web, console; CA sha256 {})",
        cloud.url, cloud.ca_sha256
    );
    println!("\nIn another terminal:\n");
    println!(
        "  export PATH={}:$PATH CLOUDCTL_CONFIG={}",
        bins.display(),
        ctl.config().display()
    );
    println!("  cloudctl agent list");
    println!("  cloudctl run sql --file examples/demo.sql --agent prod");
    println!("  cloudctl run shell -l 'env=prod' -- sh -c 'for i in 1 2 3; do echo $i; sleep 1; done'");
    println!("\nCtrl-C ends everything; a second start finds what is there.");
}
