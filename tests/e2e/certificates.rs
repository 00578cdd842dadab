//! Agents' certificates: renewed under a running task, and got back after their end.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use opslink_harness::{Fleet, wait_for};
use serde_json::Value;

use crate::support::{LIMIT, detached, shell, text, wait_state};

fn fleet(agents: &[(&str, &str)], args: &[&str]) -> Result<Fleet> {
    Fleet::start_with(agents, |options| {
        options.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    })
}

/// The certificate that the agent would show after a restart, and since when.
fn certificate(fleet: &mut Fleet) -> Result<(String, SystemTime)> {
    let path = fleet.agent("prod")?.state().join("identity.json");
    let identity: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let leaf = text(&identity, "/certificate_chain/0")?;
    Ok((leaf, std::fs::metadata(&path)?.modified()?))
}

fn log(fleet: &mut Fleet) -> Result<String> {
    Ok(std::fs::read_to_string(fleet.agent("prod")?.log())?)
}

/// Ends the agent and waits until its certificate, which lives that long, has expired.
fn sleep_past_the_end(fleet: &mut Fleet, life: Duration) -> Result<()> {
    fleet.agent("prod")?.stop();
    let (_, issued_before) = certificate(fleet)?;
    wait_for("the certificate to expire", LIMIT, || {
        issued_before
            .elapsed()
            .is_ok_and(|age| age > life + Duration::from_secs(1))
    })
}

#[test]
fn a_certificate_is_renewed_over_the_open_link_under_a_running_task() -> Result<()> {
    let mut fleet = fleet(&[("prod", "env=prod")], &["--agent-certificate-ttl", "20s"])?;
    let (before, _) = certificate(&mut fleet)?;
    let (started, release) = (fleet.path("started"), fleet.path("release"));
    let script = format!(
        "echo before $$; touch {}; while ! test -e {}; do sleep 0.05; done; echo after $$",
        started.display(),
        release.display()
    );
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?;
    wait_for("the command to run", LIMIT, || started.exists())?;
    wait_for("the certificate to be replaced on disk", LIMIT, || {
        certificate(&mut fleet).is_ok_and(|(now, _)| now != before)
    })?;
    std::fs::write(&release, "")?;
    assert_eq!(
        wait_state(&fleet.ctl, &task, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    let said = fleet.ctl.run(["logs", &task])?.expect(0)?.text();
    let pids: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(pids.len(), 4, "{said}");
    assert_eq!(pids[1], pids[3], "one process, to its end: {said}");
    let log = log(&mut fleet)?;
    assert!(log.contains("the certificate was renewed"), "{log}");
    assert_eq!(log.matches("link is up").count(), 1, "the link did not break: {log}");
    // What is on disk is good: the next agent gets in with it, without any renewal after the end.
    fleet.agent("prod")?.stop();
    fleet.agent("prod")?.start()?;
    shell(&fleet.ctl, "prod", &["true"])?.expect(0)?;
    Ok(())
}

/// T27 with real processes: everybody was off for longer than a certificate lives.
#[test]
fn a_site_that_was_off_for_longer_than_a_certificate_lives_comes_back_by_itself() -> Result<()> {
    let mut fleet = fleet(&[("prod", "env=prod")], &["--agent-certificate-ttl", "5s"])?;
    fleet.cloud.stop();
    sleep_past_the_end(&mut fleet, Duration::from_secs(5))?;
    let (before, _) = certificate(&mut fleet)?;
    fleet.cloud.restart()?;
    fleet.agent("prod")?.start()?;
    let log = log(&mut fleet)?;
    for words in [
        "the certificate has expired",
        "the certificate was renewed after its end",
    ] {
        assert!(log.contains(words), "`{words}` is missing in:\n{log}");
    }
    assert_ne!(certificate(&mut fleet)?.0, before, "the next one is on disk");
    shell(&fleet.ctl, "prod", &["true"])?.expect(0)?;
    let audit = fleet.ctl.run(["audit", "list", "-o", "json"])?.expect(0)?.text();
    assert!(audit.contains("agent.renew_expired"), "{audit}");
    Ok(())
}

#[test]
fn after_the_window_the_agent_says_what_to_do_and_goes_on_asking() -> Result<()> {
    let args = ["--agent-certificate-ttl", "5s", "--expired-certificate-window", "0"];
    let mut fleet = fleet(&[("prod", "env=prod")], &args)?;
    sleep_past_the_end(&mut fleet, Duration::from_secs(5))?;
    let agent = fleet.agent("prod")?;
    agent.launch()?;
    wait_for("the agent to say why", LIMIT, || {
        log(&mut fleet).is_ok_and(|log| log.contains("RENEWAL_WINDOW_PASSED"))
    })?;
    let log = log(&mut fleet)?;
    assert!(log.contains("too long ago"), "{log}");
    assert!(!fleet.agent("prod")?.has_ended(), "a longer window would let it in");
    Ok(())
}

#[test]
fn a_removed_agent_does_not_come_back_after_its_end() -> Result<()> {
    let mut fleet = fleet(&[("prod", "env=prod")], &["--agent-certificate-ttl", "5s"])?;
    sleep_past_the_end(&mut fleet, Duration::from_secs(5))?;
    fleet.ctl.run(["agent", "remove", "prod", "--yes"])?.expect(0)?;
    let agent = fleet.agent("prod")?;
    assert!(agent.start().is_err(), "it ends");
    let log = log(&mut fleet)?;
    assert!(log.contains("CERTIFICATE_REVOKED"), "{log}");
    Ok(())
}
