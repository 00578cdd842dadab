//! Joining and leaving: tokens, pins, identities.

use std::{
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result};
use opslink_harness::{Fleet, fleet::join_token, programs, wait_for};

use crate::support::{LIMIT, shell};

fn join(fleet: &Fleet, token: &str, state: &str) -> Result<(bool, String)> {
    let output = Command::new(programs::ours("opslink-agent")?)
        .args(["join", &fleet.cloud.url, "--token", token, "--state"])
        .arg(fleet.path(state))
        .stdin(Stdio::null())
        .output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

/// T24 with real processes: one token, many machines.
#[test]
fn one_token_lets_exactly_one_machine_in() -> Result<()> {
    const MACHINES: usize = 20;
    let fleet = Fleet::start(&[])?;
    let token = join_token(&fleet.ctl, "", "env=prod")?;
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for index in 0..MACHINES {
            let (fleet, token, results) = (&fleet, &token, &results);
            scope.spawn(move || {
                results
                    .lock()
                    .unwrap()
                    .push(join(fleet, token, &format!("m{index}")).unwrap())
            });
        }
    });
    let results = results.into_inner()?;
    assert_eq!(results.iter().filter(|(joined, _)| *joined).count(), 1, "{results:?}");
    for (_, said) in results.iter().filter(|(joined, _)| !joined) {
        assert!(said.contains("JOIN_TOKEN_USED"), "{said}");
    }
    let secret = token.rsplit('.').next().unwrap_or_default();
    let log = std::fs::read_to_string(fleet.cloud.log())?;
    assert!(!log.contains(secret), "the secret of a token is in no log");
    Ok(())
}

#[test]
fn the_printed_line_joins_and_puts_the_token_on_no_command_line() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let printed = fleet
        .ctl
        .run(["agent", "join-token", "create", "--name", "web"])?
        .expect(0)?;
    let line = String::from_utf8(printed.stdout)?;
    let line = line.trim();
    let (shell, agent) = line.split_once(" | ").context("a pipe")?;
    assert!(shell.starts_with("echo olj1."), "{line}");
    assert!(
        agent.starts_with("opslink-agent join ") && !agent.contains("olj1."),
        "{line}"
    );
    let program = programs::ours("opslink-agent")?;
    let folder = program.parent().context("a folder")?;
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let output = Command::new("sh")
        .args(["-c", &format!("{line} --state \"$0\"")])
        .arg(fleet.path("web"))
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("joined as web"), "{said}");
    Ok(())
}

#[test]
fn a_token_for_another_cloud_is_not_sent() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let token = join_token(&fleet.ctl, "x", "")?;
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = "0".repeat(64);
    parts[1] = &other;
    let (joined, said) = join(&fleet, &parts.join("."), "x")?;
    assert!(!joined && said.contains("CA_MISMATCH"), "{said}");
    // The token was not burnt: the secret never left this machine.
    assert!(join(&fleet, &token, "x")?.0);
    Ok(())
}

#[test]
fn a_taken_name_is_refused_and_the_token_can_be_used_again() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let token = join_token(&fleet.ctl, "prod", "")?;
    let (joined, said) = join(&fleet, &token, "second")?;
    assert!(
        !joined && said.contains("AGENT_NAME_TAKEN") && said.contains("prod"),
        "{said}"
    );
    fleet.ctl.run(["agent", "remove", "prod", "--yes"])?.expect(0)?;
    let (joined, said) = join(&fleet, &token, "second")?;
    assert!(joined, "{said}");
    Ok(())
}

/// T11 with real processes: removal closes the live link and the certificate opens no new one.
#[test]
fn a_removed_agent_is_out_at_once_and_stays_out() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod"), ("other", "env=prod")])?;
    fleet.ctl.run(["agent", "remove", "prod", "--yes"])?.expect(0)?;
    wait_for("the agent to give up", LIMIT, || {
        fleet.agent("prod").is_ok_and(|agent| agent.has_ended())
    })?;
    let log = std::fs::read_to_string(fleet.agent("prod")?.log())?;
    assert!(log.contains("CERTIFICATE_REVOKED"), "{log}");
    let gone = shell(&fleet.ctl, "prod", &["true"])?;
    assert_eq!(gone.code, 5, "{}", gone.stderr);
    assert!(
        fleet.agent("prod")?.start().is_err(),
        "the certificate is of no more use"
    );
    shell(&fleet.ctl, "other", &["true"])?.expect(0)?;
    Ok(())
}
