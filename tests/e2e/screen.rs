//! What people see at the end: the same once and the rest as a diff, tables in their language, and what would happen.

use anyhow::Result;
use opslink_harness::{Ctl, Fleet, Ran};

/// Runs a call in Chinese, as a shell there would.
fn chinese(ctl: &Ctl, args: &[&str]) -> Result<Ran> {
    let mut command = ctl.command(args)?;
    let output = command.env("LANG", "zh_CN.UTF-8").env_remove("LC_ALL").output()?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[test]
fn folded_output_shows_the_odd_one_as_a_diff() -> Result<()> {
    let fleet = Fleet::start(&[("a", "env=prod"), ("b", "env=prod"), ("c", "env=prod")])?;
    // Whoever comes first is the odd one.
    let script = format!(
        "if mkdir {} 2>/dev/null; then seq 1 40 | sed 's/^20$/twenty/'; else seq 1 40; fi",
        fleet.path("turn").display()
    );
    let folded = fleet
        .ctl
        .run(["run", "shell", "-l", "env=prod", "--fold", "--", "sh", "-c", &script])?
        .expect(0)?
        .text();
    let whole: String = (1..=40).map(|n| format!("{n}\n")).collect();
    assert_eq!(folded.matches(&whole).count(), 1, "the same once: {folded}");
    for words in [
        "(2) ──\n1\n",
        "@@ -17,7 +17,7 @@",
        "\n-20\n+twenty\n",
        "\n--- ",
        "\n+++ ",
    ] {
        assert!(folded.contains(words), "`{words}` is missing in:\n{folded}");
    }
    assert!(!folded.contains('\u{1b}'), "no colours into a pipe");
    Ok(())
}

#[test]
fn tables_speak_chinese_and_their_data_does_not() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let ran = chinese(&fleet.ctl, &["run", "shell", "-a", "prod", "--", "echo", "hello"])?.expect(0)?;
    assert_eq!(ran.text(), "hello\n", "output is nobody's language");
    let agents = chinese(&fleet.ctl, &["agent", "list"])?.expect(0)?.text();
    for words in ["名称", "在线", "prod", "env=prod"] {
        assert!(agents.contains(words), "`{words}` is missing in:\n{agents}");
    }
    let tasks = chinese(&fleet.ctl, &["task", "list"])?.expect(0)?.text();
    assert!(tasks.contains("成功") && !tasks.contains("succeeded"), "{tasks}");
    // Programs read the same everywhere.
    for format in ["csv", "json", "jsonl", "yaml", "name"] {
        let of = |ran: Ran| ran.expect(0).map(|ran| ran.text());
        let chinese = of(chinese(&fleet.ctl, &["task", "list", "-o", format])?)?;
        let english = of(fleet.ctl.run(["task", "list", "-o", format])?)?;
        assert_eq!(chinese, english, "{format}");
    }
    let unknown = chinese(&fleet.ctl, &["run", "shell", "-a", "nobody", "--", "true"])?.expect(5)?;
    assert!(
        unknown.stderr.contains("代理") && unknown.stderr.contains("nobody"),
        "{}",
        unknown.stderr
    );
    let syntax = chinese(&fleet.ctl, &["run", "shell", "-l", "env=prod,,x", "--", "true"])?.expect(2)?;
    for words in ["此处应为标签名", "env=prod,,x\n", "^\n"] {
        assert!(
            syntax.stderr.contains(words),
            "`{words}` is missing in:\n{}",
            syntax.stderr
        );
    }
    let english = fleet.ctl.run(["--lang", "en", "agent", "list"])?.expect(0)?.text();
    assert!(english.contains("NAME") || english.contains("Name"), "{english}");
    Ok(())
}

#[test]
fn a_dry_run_names_its_targets_and_runs_nothing() -> Result<()> {
    let mut fleet = Fleet::start(&[("one", "env=prod"), ("two", "env=prod"), ("three", "env=test")])?;
    fleet.agent("two")?.stop();
    let marker = fleet.path("ran");
    let touch = ["--", "touch", &marker.display().to_string()].map(str::to_owned);
    let args = |extra: &[&str]| -> Vec<String> {
        let base = ["run", "shell", "-l", "env=prod", "--dry-run"];
        base.iter()
            .chain(extra)
            .map(|arg| (*arg).to_owned())
            .chain(touch.clone())
            .collect()
    };
    let ran = fleet.ctl.run(args(&["--queue"]))?.expect(0)?;
    for name in ["one", "two"] {
        assert!(ran.text().contains(name), "{}", ran.text());
    }
    assert!(!ran.text().contains("three"), "{}", ran.text());
    assert!(ran.stderr.contains("Nothing was run"), "{}", ran.stderr);
    let json = fleet.ctl.run(args(&["--queue", "-o", "json"]))?.expect(0)?.json()?;
    assert_eq!(json.as_array().map(Vec::len), Some(2), "{json}");
    assert!(!marker.exists());
    let tasks = fleet.ctl.run(["task", "list", "-o", "json"])?.expect(0)?.json()?;
    assert_eq!(tasks.as_array().map(Vec::len), Some(0), "no task was made: {tasks}");
    Ok(())
}
