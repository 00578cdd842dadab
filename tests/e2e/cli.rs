//! What the command line understands, offers and says of things that only a cloud knows.

use anyhow::Result;
use opslink_harness::{Fleet, wait_for};
use serde_json::json;

use crate::support::{LIMIT, detached, text, wait_state};

/// What bash is offered for the last of these words.
fn offered(fleet: &Fleet, words: &[&str]) -> Result<Vec<String>> {
    let output = fleet
        .ctl
        .command([&["--", "cloudctl"], words].concat())?
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

#[test]
fn a_token_is_revoked_by_its_name_or_by_the_beginning_of_its_id() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let ctl = &fleet.ctl;
    let create = |name: &str| -> Result<String> {
        let made = ctl.api(
            "opslink.v1.TokenService/CreateToken",
            &json!({ "name": name, "role": "ROLE_VIEWER" }),
        )?;
        text(&made, "/token/id")
    };
    let state_of = |id: &str| -> Result<String> {
        let list = ctl
            .run(["token", "list", "-o", "csv", "--no-headers"])?
            .expect(0)?
            .text();
        let line = list
            .lines()
            .find(|line| line.contains(id))
            .unwrap_or_default()
            .to_owned();
        Ok(line.split(',').nth(2).unwrap_or_default().to_owned())
    };
    let (first, second) = (create("ci")?, create("backup")?);
    ctl.run(["token", "revoke", "ci"])?.expect(0)?;
    assert_eq!(
        (state_of(&first)?, state_of(&second)?),
        ("revoked".into(), "usable".into())
    );
    // All but the last characters: two ids may begin alike for a minute.
    let beginning = second.get(..second.len() - 4).unwrap_or_default();
    ctl.run(["token", "revoke", beginning])?.expect(0)?;
    assert_eq!(state_of(&second)?, "revoked");

    let (one, two) = (create("one")?, create("two")?);
    let common: String = one
        .chars()
        .zip(two.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    // A clock that turns over its first 8 digits between the two leaves nothing to be ambiguous.
    if common.len() >= 8 {
        let refused = ctl.run(["token", "revoke", &common])?.expect(2)?.stderr;
        assert!(refused.contains("TOKEN_AMBIGUOUS"), "{refused}");
        assert!(refused.contains(&one) && refused.contains(&two), "{refused}");
    }
    assert_eq!((state_of(&one)?, state_of(&two)?), ("usable".into(), "usable".into()));
    let gone = ctl.run(["token", "revoke", "nobody"])?.expect(5)?.stderr;
    assert!(gone.contains("TOKEN_NOT_FOUND"), "{gone}");
    Ok(())
}

#[test]
fn a_cancel_says_what_came_of_it() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let finished = detached(&fleet.ctl, &["-a", "prod", "--", "true"])?;
    wait_state(&fleet.ctl, &finished, &["SUCCEEDED"])?;
    let said = fleet.ctl.run(["task", "cancel", &finished])?.expect(0)?.stderr;
    assert!(said.contains("was over already"), "{said}");
    let shown = fleet.ctl.run(["task", "list"])?.expect(0)?.text();
    assert!(!shown.contains("cancel requested"), "{shown}");

    fleet.agent("prod")?.stop();
    wait_for("the agent to be offline", LIMIT, || {
        let list = fleet.ctl.run(["agent", "list", "-o", "json"]);
        list.is_ok_and(|list| list.text().contains("AGENT_STATUS_OFFLINE"))
    })?;
    let queued = detached(&fleet.ctl, &["-a", "prod", "--queue", "--", "true"])?;
    let said = fleet.ctl.run(["task", "cancel", &queued])?.expect(0)?.stderr;
    assert!(said.contains("is canceled") && !said.contains("already"), "{said}");
    let said = fleet.ctl.run(["task", "cancel", &queued])?.expect(0)?.stderr;
    assert!(said.contains("was over already"), "{said}");
    Ok(())
}

#[test]
fn a_broken_connections_file_is_told_to_the_task_with_its_line() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let file = fleet.agent("prod")?.state().join("connections.toml");
    let entry = "[[connection]]\nname = 'main'\nurl = 'sqlite:///main.db'\n";
    for (broken, line) in [("[[connection]\n".to_owned(), 1), (entry.repeat(2), 5)] {
        std::fs::write(&file, &broken)?;
        let failed = fleet
            .ctl
            .run(["run", "sql", "-a", "prod", "-e", "select 1"])?
            .expect(3)?
            .stderr;
        assert!(failed.contains(&format!("line {line}")), "{failed}");
        assert!(failed.contains(&file.display().to_string()), "{failed}");
    }
    Ok(())
}

#[test]
fn tab_offers_what_the_cloud_knows() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "true"])?;
    let made = json!({ "name": "ci", "role": "ROLE_VIEWER" });
    fleet.ctl.api("opslink.v1.TokenService/CreateToken", &made)?;
    let begun = task.get(..8).unwrap_or_default();
    let of_task = format!("{task}/p");
    let whole = format!("{task}/prod");
    let cases: [(&[&str], &str); 7] = [
        (&["task", "get", begun], &task),
        (&["task", "cancel", begun], &task),
        (&["logs", begun], &task),
        (&["logs", &of_task], &whole),
        (&["run", "sql", "-a", "prod", "--conn", "m"], "main"),
        (&["token", "revoke", "c"], "ci"),
        (&["run", "shell", "--all", "--exclude", "p"], "prod"),
    ];
    for (words, wanted) in cases {
        // A busy machine may take longer than pressing Tab is given.
        wait_for(&format!("{words:?} to be completed"), LIMIT, || {
            offered(&fleet, words).is_ok_and(|offered| offered.iter().any(|value| value == wanted))
        })?;
    }
    Ok(())
}

#[test]
fn two_clouds_on_one_host_are_two_contexts() -> Result<()> {
    let (one, other) = (Fleet::start(&[])?, Fleet::start(&[])?);
    let secret = |fleet: &Fleet| -> Result<String> {
        let body = json!({ "name": "ci", "role": "ROLE_ADMIN" });
        text(&fleet.ctl.api("opslink.v1.TokenService/CreateToken", &body)?, "/secret")
    };
    let config = one.path("contexts");
    for fleet in [&one, &other] {
        let stdin = fleet.path("token");
        std::fs::write(&stdin, secret(fleet)?)?;
        let login = fleet
            .ctl
            .command([
                "login",
                &fleet.cloud.url,
                "--with-token",
                "--ca-sha256",
                &fleet.cloud.ca_sha256,
            ])?
            .env("CLOUDCTL_CONFIG", &config)
            .stdin(std::fs::File::open(&stdin)?)
            .output()?;
        assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    }
    let listed = one
        .ctl
        .command(["context", "list", "-o", "json"])?
        .env("CLOUDCTL_CONFIG", &config)
        .output()?;
    let contexts: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout)?;
    let servers: Vec<&str> = contexts
        .iter()
        .filter_map(|context| context["server"].as_str())
        .collect();
    assert_eq!(servers.len(), 2, "{contexts:?}");
    for context in &contexts {
        let asked = one
            .ctl
            .command(["whoami", "--context", context["name"].as_str().unwrap_or_default()])?
            .env("CLOUDCTL_CONFIG", &config)
            .output()?;
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    }
    Ok(())
}
