//! Restarts that nobody should notice: of a cloud under its followers, of a link under a half-edited file.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use opslink_harness::{Fleet, wait_for};

use crate::support::{LIMIT, shell};

#[test]
fn a_follower_goes_on_after_the_cloud_was_stopped_politely() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let (started, release) = (fleet.path("started"), fleet.path("release"));
    let script = format!(
        "echo before; touch {}; while ! test -e {}; do sleep 0.05; done; echo after",
        started.display(),
        release.display()
    );
    let mut command = fleet
        .ctl
        .command(["run", "shell", "-a", "prod", "--", "sh", "-c", &script])?;
    let follower = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait_for("the command to run", LIMIT, || started.exists())?;
    fleet.cloud.restart()?;
    std::fs::write(&release, "")?;
    let ended = follower.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "before\nafter\n", "{said}");
    assert!(
        said.contains("The cloud is about to stop"),
        "the reason is told: {said}"
    );
    Ok(())
}

#[test]
fn a_broken_connections_file_does_not_end_an_agent_that_redials() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let file = fleet.agent("prod")?.state().join("connections.toml");
    let good = std::fs::read(&file)?;
    std::fs::write(&file, "[[connection]\n")?;
    fleet.cloud.restart()?;
    wait_for("the agent to be back", LIMIT, || {
        let list = fleet.ctl.run(["agent", "list", "-o", "json"]);
        list.is_ok_and(|list| list.text().contains("AGENT_STATUS_ONLINE"))
    })?;
    assert!(!fleet.agent("prod")?.has_ended());
    let agent = fleet
        .ctl
        .run(["agent", "get", "prod", "-o", "json"])?
        .expect(0)?
        .json()?;
    assert_eq!(agent["connections"][0]["name"], "main", "the one before: {agent}");
    let log = std::fs::read_to_string(fleet.agent("prod")?.log())?;
    assert!(
        log.contains("connections cannot be used") && log.contains("line 1"),
        "{log}"
    );
    std::fs::write(&file, good)?;
    shell(&fleet.ctl, "prod", &["true"])?
        .expect(0)
        .context("the agent works")?;
    Ok(())
}

#[test]
fn a_changed_policy_is_told_without_a_new_link() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let capabilities = |fleet: &Fleet| -> Result<String> {
        let agent = fleet
            .ctl
            .run(["agent", "get", "prod", "-o", "json"])?
            .expect(0)?
            .json()?;
        Ok(agent["facts"]["capabilities"].to_string())
    };
    assert!(capabilities(&fleet)?.contains("sql"));
    let policy = fleet.agent("prod")?.state().join("policy.toml");
    std::fs::write(policy, "allow = [\"shell\"]\n")?;
    wait_for("the cloud to know", LIMIT, || {
        capabilities(&fleet).is_ok_and(|now| now.contains("shell") && !now.contains("sql"))
    })?;
    let log = std::fs::read_to_string(fleet.agent("prod")?.log())?;
    assert_eq!(log.matches("link is up").count(), 1, "{log}");
    Ok(())
}
