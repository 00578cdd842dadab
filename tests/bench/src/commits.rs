//! Tasks per second of a cloud on PostgreSQL, by how many clients ask at the same time: what its commits cost each other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use opslink_harness::{Fleet, database::Database};

use crate::{
    client::{Client, fake_spec, named, succeeded},
    fanout::{Simulator, runtime},
    figure::Figure,
};

/// The most clients; each has an agent of its own, so that only the cloud is shared.
const MOST: usize = 32;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(5);

pub(crate) fn run() -> Result<Vec<Figure>> {
    let postgres = Database::postgres()?;
    let fleet = Fleet::start_with(&[], |options| options.database_url = Some(postgres.url()))?;
    let _simulator = Simulator::start(&fleet, MOST)?;
    let agents = fleet.ctl.run(["agent", "list", "-o", "name"])?.expect(0)?.text();
    let agents: Vec<&str> = agents.lines().collect();
    ensure!(agents.len() == MOST, "{} agents instead of {MOST}", agents.len());
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..MOST {
            idle.push(Client::connect(&fleet.cloud, &fleet.ctl).await?);
        }
        let mut figures = Vec::new();
        for count in [1, 8, MOST] {
            let mut rates = Vec::new();
            for _ in 0..ROUNDS {
                let started = Instant::now();
                let mut busy = tokio::task::JoinSet::new();
                for (client, agent) in idle.drain(..count).zip(&agents) {
                    busy.spawn(repeat(client, (*agent).to_owned(), started));
                }
                let mut tasks = 0;
                while let Some(ended) = busy.join_next().await {
                    let (client, done) = ended.context("a client")??;
                    tasks += done;
                    idle.push(client);
                }
                rates.push(f64::from(tasks) / started.elapsed().as_secs_f64());
            }
            figures.push(Figure::new(&format!("postgres_commits_{count}"), "tasks/s", rates));
        }
        Ok(figures)
    })
}

/// One task after the other until the round is over; returns how many.
async fn repeat(mut client: Client, agent: String, started: Instant) -> Result<(Client, u32)> {
    let mut tasks = 0;
    while started.elapsed() < ROUND {
        let (_, task) = client.run(fake_spec([]), named(&agent)).await?;
        ensure!(succeeded(&task) == 1, "a task did not succeed");
        tasks += 1;
    }
    Ok((client, tasks))
}
