//! The road: a task goes out, one ordered event stream comes back.

use anyhow::Result;
use opslink_harness::Fleet;

use crate::support::{detached, executions, shell, text, wait_verified};

#[test]
fn a_command_runs_and_its_output_comes_back_byte_for_byte() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let ran = shell(&fleet.ctl, "prod", &["printf", r"a\0b\xff\xfe\033[31mred\n"])?.expect(0)?;
    assert_eq!(ran.stdout, b"a\0b\xff\xfe\x1b[31mred\n");

    let apart = shell(&fleet.ctl, "prod", &["sh", "-c", "echo out; echo err >&2; exit 7"])?.expect(3)?;
    assert_eq!(apart.stdout, b"out\n");
    assert!(apart.stderr.contains("err\n"), "{}", apart.stderr);
    assert!(apart.stderr.contains('7'), "the exit code is told: {}", apart.stderr);
    Ok(())
}

#[test]
fn a_label_expression_reaches_every_match_and_only_those() -> Result<()> {
    let fleet = Fleet::start(&[
        ("prod", "env=prod,dc=bj"),
        ("shanghai", "env=prod,dc=sh"),
        ("staging", "env=staging"),
    ])?;
    let ran = fleet
        .ctl
        .run(["run", "shell", "-l", "env=prod", "--", "sh", "-c", "echo one; echo two"])?
        .expect(0)?;
    let output = ran.text();
    for agent in ["prod", "shanghai"] {
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| line.trim_start().starts_with(agent))
            .collect();
        assert_eq!(lines.len(), 2, "{output}");
        assert!(lines[0].ends_with("one") && lines[1].ends_with("two"), "{output}");
    }
    assert!(!output.contains("staging"));
    Ok(())
}

#[test]
fn sql_from_a_file_shows_rows_and_fails_honestly() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo.sql");
    let ran = fleet
        .ctl
        .run(["run", "sql", "--file", demo, "--agent", "prod", "-o", "csv"])?
        .expect(0)?;
    let output = ran.text();
    assert!(output.contains("id,customer,city,amount,paid"), "{output}");
    assert!(output.contains("1,Li Wei,Beijing,1280.5,"), "{output}");
    let failed = fleet
        .ctl
        .run(["run", "sql", "-e", "SELECT 1; SELEKT 2", "--agent", "prod"])?
        .expect(3)?;
    assert!(
        failed.stderr.contains("SQL_FAILED") && failed.stderr.contains("syntax error"),
        "{}",
        failed.stderr
    );
    Ok(())
}

#[test]
fn logs_can_be_read_again_later_and_a_retry_is_a_new_attempt() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let marker = fleet.path("marker");
    let script = format!("echo try; test -e {0} || {{ touch {0}; exit 1; }}", marker.display());
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?;
    fleet.ctl.run(["task", "watch", &task])?.expect(3)?;
    assert_eq!(fleet.ctl.run(["logs", &task])?.expect(0)?.stdout, b"try\n");
    fleet.ctl.run(["task", "retry", &task])?.expect(0)?;
    fleet.ctl.run(["task", "watch", &task])?.expect(0)?;
    let execution = executions(&fleet.ctl, &task)?.remove(0);
    assert_eq!(execution["attemptNumber"], 2);
    assert_eq!(text(&execution, "/state")?, "EXECUTION_STATE_SUCCEEDED");
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn a_script_travels_as_a_file_and_arguments_as_they_are() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let script = fleet.path("script.sh");
    std::fs::write(
        &script,
        "#!/bin/sh\nfor arg in \"$@\"; do printf '[%s]' \"$arg\"; done\necho \" $GREETING $(pwd)\"\n",
    )?;
    let script = script.display().to_string();
    let args = [
        "run",
        "shell",
        "-a",
        "prod",
        "--file",
        &script,
        "-e",
        "GREETING=hi",
        "--cwd",
        "/tmp",
        "--",
        "a b",
        "$(id)",
        "*",
    ];
    let ran = fleet.ctl.run(args)?.expect(0)?;
    assert_eq!(ran.text(), "[a b][$(id)][*] hi /tmp\n");
    Ok(())
}

#[test]
fn a_restarted_cloud_knows_everything() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", "echo before"])?;
    fleet.ctl.run(["task", "watch", &task])?.expect(0)?;
    fleet.cloud.restart()?;
    assert_eq!(fleet.ctl.run(["logs", &task])?.expect(0)?.stdout, b"before\n");
    opslink_harness::wait_for("the agent to be back", crate::support::LIMIT, || {
        shell(&fleet.ctl, "prod", &["echo", "after"]).is_ok_and(|ran| ran.stdout == b"after\n")
    })
}
