//! One task on many agents: real processes, and ten thousand simulated ones over real links.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use opslink::pb;
use opslink_harness::{Fleet, process::Server, programs, wait_for};

use crate::{
    client::{Client, everyone, fake_spec, succeeded, true_spec},
    dispatch::timed,
    figure::Figure,
    ssh::Ssh,
};

const ROUNDS: usize = 7;

/// `true` on 50 and on 100 agents, each a process of its own.
pub(crate) fn real() -> Result<Vec<Figure>> {
    let mut fleet = Fleet::start(&[])?;
    let ssh = Ssh::start().ok();
    let runtime = runtime()?;
    let mut figures = Vec::new();
    for count in [50_u32, 100] {
        for index in u32::try_from(fleet.agents.len())?..count {
            fleet.add_agent(&format!("a{index:03}"), "env=bench")?;
        }
        let ours = runtime.block_on(rates(&fleet, true_spec(), count))?;
        let mut mux = Vec::new();
        if let Some(ssh) = &ssh {
            let words: Vec<String> = std::iter::once(ssh.mux().get_program().to_owned())
                .chain(ssh.mux().get_args().map(ToOwned::to_owned))
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let line = format!("seq {count} | xargs -P16 -I{{}} {} true", words.join(" "));
            for _ in 0..3 {
                mux.push(f64::from(count) * 1e3 / timed(Command::new("sh").args(["-c", &line]))?);
            }
        }
        figures.push(Figure::new(&format!("fanout_real_{count}"), "tasks/s", ours).beside("ssh mux xargs -P16", mux));
    }
    Ok(figures)
}

/// A short fake task on 10,000 simulated agents: every state and output durable.
pub(crate) fn simulated() -> Result<Vec<Figure>> {
    const AGENTS: u32 = 10_000;
    let fleet = Fleet::start(&[])?;
    let _simulator = Simulator::start(&fleet, AGENTS as usize)?;
    let spec = fake_spec([pb::fake_step::Step::Stdout(b"done\n".to_vec().into())]);
    let rates = runtime()?.block_on(rates(&fleet, spec, AGENTS))?;
    Ok(vec![Figure::new(
        "fanout_10k",
        "s",
        rates.into_iter().map(|rate| f64::from(AGENTS) / rate).collect(),
    )])
}

/// Agents that live in one process: real links, a fake executor, journals in memory.
pub(crate) struct Simulator {
    _server: Server,
}

impl Simulator {
    /// Starts it and waits until all its agents are online.
    pub(crate) fn start(fleet: &Fleet, agents: usize) -> Result<Self> {
        let body = serde_json::json!({ "name": "simulator", "role": "ROLE_ADMIN" });
        let answer = fleet.ctl.api("opslink.v1.TokenService/CreateToken", &body)?;
        let token = answer
            .get("secret")
            .and_then(|secret| secret.as_str())
            .context("secret")?;
        let mut command = Command::new(programs::ours("opslink-agent")?);
        command.args([
            "simulate",
            &fleet.cloud.url,
            "--agents",
            &agents.to_string(),
            "--api-token",
            token,
        ]);
        command.args(["--ca-sha256", &fleet.cloud.ca_sha256]);
        let (server, _) = Server::start(
            "the simulator",
            &mut command,
            &fleet.path("simulator.log"),
            Duration::from_secs(300),
        )?;
        wait_for("all simulated agents to be online", Duration::from_secs(120), || {
            online(fleet) >= agents
        })?;
        Ok(Self { _server: server })
    }
}

/// Agents that are online.
pub(crate) fn online(fleet: &Fleet) -> usize {
    fleet
        .ctl
        .run(["agent", "list", "-o", "json"])
        .map_or(0, |list| list.text().matches("AGENT_STATUS_ONLINE").count())
}

/// What the clients run on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// Executions per second, each round over all agents; the first round is not counted.
async fn rates(fleet: &Fleet, spec: pb::TaskSpec, count: u32) -> Result<Vec<f64>> {
    let mut client = Client::connect(&fleet.cloud, &fleet.ctl).await?;
    let mut rates = Vec::new();
    for round in 0..=ROUNDS {
        let (seconds, task) = client.run(spec.clone(), everyone()).await?;
        let good = succeeded(&task);
        ensure!(good == count, "{good} of {count} executions succeeded");
        if round > 0 {
            rates.push(f64::from(count) / seconds);
        }
    }
    Ok(rates)
}
