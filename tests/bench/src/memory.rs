//! Memory at rest: the cloud, an agent, and what each connected agent costs the cloud.

use std::time::Duration;

use anyhow::{Context, Result};
use opslink_harness::Fleet;

use crate::{fanout::Simulator, figure::Figure};

/// Connected agents when the cost of one is measured.
const AGENTS: usize = 1000;

pub(crate) fn run() -> Result<Vec<Figure>> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let cloud = fleet.cloud.id().context("the cloud's process")?;
    let agent = fleet.agent("prod")?.id().context("the agent's process")?;
    settle();
    let cloud_idle = pss_kb(cloud)?;
    let agent_idle = family_pss_kb(agent)?;
    let simulator = Simulator::start(&fleet, AGENTS)?;
    settle();
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let each = (pss_kb(cloud)? - cloud_idle) / AGENTS as f64;
    drop(simulator);
    Ok(vec![
        Figure::new("memory_cloud_idle", "MB", vec![cloud_idle / 1024.0]),
        Figure::new("memory_agent_idle", "MB", vec![agent_idle / 1024.0]),
        Figure::new("memory_per_agent", "kB", vec![each]),
    ])
}

/// Lets a start's temporary memory go: idle means that nothing has happened for a while.
fn settle() {
    std::thread::sleep(Duration::from_secs(5));
}

/// The same of a process and all below it: an agent has a fork server, and that a spare runner.
fn family_pss_kb(pid: u32) -> Result<f64> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut sum = pss_kb(pid)?;
    for child in children.split_whitespace() {
        sum += family_pss_kb(child.parse()?)?;
    }
    Ok(sum)
}

/// Proportional set size of a process: its share of what is in memory because of it.
fn pss_kb(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("Pss in smaps_rollup")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
