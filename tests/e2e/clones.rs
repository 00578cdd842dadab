//! T25: two machines with one identity, since a state folder was copied. Neither gets work, and it is said why.

use std::process::Command;

use anyhow::Result;
use opslink_harness::{Agent, Fleet, process, wait_for};

use crate::support::{LIMIT, shell};

#[test]
fn a_copied_agent_and_its_original_are_both_kept_out() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod"), ("other", "env=prod")])?;
    let (original, copied) = (fleet.path("prod"), fleet.path("copy"));
    // The socket of the running agent is its own.
    process::run(Command::new("cp").arg("-a").arg(&original).arg(&copied))?;
    std::fs::remove_file(copied.join("agent.sock"))?;
    let mut copy = Agent::joined("prod", &copied);
    copy.launch()?;
    for log in [fleet.agent("prod")?.log(), copy.log()] {
        wait_for("both to be told", LIMIT, || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("AGENT_CLONED"))
        })?;
    }
    assert!(
        !fleet.agent("prod")?.has_ended() && !copy.has_ended(),
        "they may be let in again"
    );
    let refused = shell(&fleet.ctl, "prod", &["true"])?;
    assert_eq!(refused.code, 6, "offline: {}", refused.stderr);
    let audit = fleet.ctl.run(["audit", "list", "-o", "json"])?.expect(0)?.text();
    assert_eq!(audit.matches("agent.quarantine").count(), 1, "told once: {audit}");
    let log = std::fs::read_to_string(fleet.cloud.log())?;
    assert!(log.contains("two processes use one agent's identity"), "{log}");
    // Nobody else is disturbed, and removing the identity ends both.
    shell(&fleet.ctl, "other", &["true"])?.expect(0)?;
    fleet.ctl.run(["agent", "remove", "prod", "--yes"])?.expect(0)?;
    let token = opslink_harness::fleet::join_token(&fleet.ctl, "prod", "env=prod")?;
    fleet.agent("prod")?.stop();
    copy.stop();
    let mut anew = Agent::join("prod", fleet.path("anew"), &fleet.cloud.url, &token)?;
    anew.start()?;
    shell(&fleet.ctl, "prod", &["true"])?.expect(0)?;
    Ok(())
}
