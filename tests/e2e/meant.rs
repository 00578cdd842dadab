//! What its author saw is what runs: the agents that were shown, none of those to be spared, nothing a second time.

use anyhow::Result;
use opslink_harness::Fleet;
use serde_json::json;

use crate::support::detached;

#[test]
fn a_selector_runs_on_the_agents_that_were_shown_or_on_none() -> Result<()> {
    let fleet = Fleet::start(&[("one", "env=prod"), ("two", "env=prod")])?;
    let run = |args: &[&str]| fleet.ctl.run([&["run", "shell"], args, &["--", "true"]].concat());
    let shown = run(&["-l", "env=prod", "--confirm", "--yes"])?.expect(0)?;
    assert!(shown.stderr.contains("one, two"), "{}", shown.stderr);
    // Without a terminal nobody can say yes.
    assert!(
        run(&["-l", "env=prod", "--confirm"])?
            .expect(2)?
            .stderr
            .contains("--yes")
    );
    let create = |agents: &[&str]| {
        let body = json!({
            "spec": { "shell": { "argv": ["true"] } },
            "selector": { "expression": "env=prod" },
            "expectedAgents": { "agents": agents },
        });
        fleet.ctl.api("opslink.v1.TaskService/CreateTask", &body)
    };
    let changed = create(&["one"]).expect_err("two was not shown").to_string();
    assert!(
        changed.contains("TARGETS_CHANGED") && changed.contains("two"),
        "{changed}"
    );
    create(&["two", "one"])?;
    Ok(())
}

#[test]
fn a_mistyped_name_or_an_empty_variable_never_widens_a_task() -> Result<()> {
    let fleet = Fleet::start(&[("one", "env=prod"), ("spare", "env=prod")])?;
    let run = |args: &[&str]| fleet.ctl.run([&["run", "shell"], args, &["--", "true"]].concat());
    let typo = run(&["--all", "--exclude", "sapre"])?.expect(5)?.stderr;
    assert!(
        typo.contains("EXCLUDED_AGENT_NOT_FOUND") && typo.contains("“spare”"),
        "{typo}"
    );
    run(&["-a", "", "-l", "env=prod"])?.expect(2)?;
    run(&["-a", "one", "-l", ""])?.expect(2)?;
    run(&["--all", "--exclude", ""])?.expect(2)?;
    // A glob is a wish about whoever is there.
    run(&["--all", "--exclude", "canary-*"])?.expect(0)?;
    Ok(())
}

#[test]
fn what_succeeded_runs_again_only_when_that_is_said() -> Result<()> {
    let fleet = Fleet::start(&[("one", "env=prod")])?;
    let marker = fleet.path("runs");
    let script = format!("echo run >> {}", marker.display());
    let task = detached(&fleet.ctl, &["-a", "one", "--", "sh", "-c", &script])?;
    fleet.ctl.run(["task", "watch", &task])?.expect(0)?;
    let refused = fleet.ctl.run(["task", "retry", &task, "-a", "one"])?.expect(6)?;
    assert!(refused.stderr.contains("--include-succeeded"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&marker)?, b"run\n");
    fleet
        .ctl
        .run(["task", "retry", &task, "-a", "one", "--include-succeeded"])?
        .expect(0)?;
    assert_eq!(std::fs::read(&marker)?, b"run\nrun\n");
    Ok(())
}
