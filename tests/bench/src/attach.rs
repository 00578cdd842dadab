//! A cloud that comes back: how long until a thousand agents are attached again, and that nothing of theirs was lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use opslink::pb::{self, fake_step::Step};
use opslink_harness::{Fleet, wait_for};

use crate::{
    client::{Client, everyone, fake_spec, succeeded},
    fanout::{Simulator, online, runtime},
    figure::Figure,
};

const AGENTS: usize = 1_000;
const ROUNDS: usize = 3;
/// Longer than a restart takes: every agent is at work when the cloud goes.
const WORK_MS: u32 = 15_000;
/// Only reached when agents do not come back.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn run() -> Result<Vec<Figure>> {
    let mut fleet = Fleet::start(&[])?;
    let _simulator = Simulator::start(&fleet, AGENTS)?;
    let runtime = runtime()?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let create = pb::CreateTaskRequest {
            spec: Some(fake_spec([
                Step::SleepMs(WORK_MS),
                Step::Stdout(b"done\n".to_vec().into()),
            ])),
            selector: Some(everyone()),
            ..Default::default()
        };
        let task = runtime.block_on(async { Client::connect(&fleet.cloud, &fleet.ctl).await?.create(create).await })?;
        fleet.cloud.kill();
        fleet.cloud.restart()?;
        let started = Instant::now();
        wait_for("all agents to be back", LIMIT, || online(&fleet) >= AGENTS)?;
        seconds.push(started.elapsed().as_secs_f64());
        let ended = runtime.block_on(async { Client::connect(&fleet.cloud, &fleet.ctl).await?.ended(task).await })?;
        let good = succeeded(&ended);
        ensure!(
            good as usize == AGENTS,
            "{good} of {AGENTS} executions outlived the restart"
        );
    }
    Ok(vec![Figure::new("attach_1k", "s", seconds)])
}
