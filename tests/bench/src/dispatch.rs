//! How long `true` takes on one agent: through a warm client, and through a cold command line.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Result, ensure};
use opslink_harness::Fleet;

use crate::{
    client::{Client, named, true_spec},
    figure::Figure,
    ssh::Ssh,
};

const WARM: usize = 300;
const COLD: usize = 100;

pub(crate) fn run() -> Result<Vec<Figure>> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let warm = runtime.block_on(async {
        let mut client = Client::connect(&fleet.cloud, &fleet.ctl).await?;
        let mut samples = Vec::new();
        for round in 0..WARM + 20 {
            let (seconds, _) = client.run(true_spec(), named("prod")).await?;
            if round >= 20 {
                samples.push(seconds * 1e3);
            }
        }
        anyhow::Ok(samples)
    })?;

    let ssh = Ssh::start().ok();
    let (mut cli, mut mux, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..COLD {
        cli.push(timed(
            &mut fleet.ctl.command(["run", "shell", "-a", "prod", "--", "true"])?,
        )?);
        if let Some(ssh) = &ssh {
            mux.push(timed(ssh.mux().arg("true"))?);
            if round % 5 == 0 {
                plain.push(timed(ssh.plain().arg("true"))?);
            }
        }
    }
    Ok(vec![
        Figure::new("dispatch_warm", "ms", warm),
        Figure::new("dispatch_cli", "ms", cli)
            .beside("ssh mux", mux)
            .beside("ssh", plain),
    ])
}

/// Milliseconds of a whole process that must end well.
pub(crate) fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
