//! Bad input: what, why, do this, a stable reason, an honest exit code, and nothing lost.

use std::process::Stdio;

use anyhow::Result;
use opslink_harness::{Cloud, Fleet, Ran, cloud::Options, database::Database};

/// The reason code and some words that must be told, with the exit code.
fn check(ran: Ran, code: i32, words: &[&str]) -> Result<()> {
    let ran = ran.expect(code)?;
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing in:\n{}", ran.stderr);
    }
    Ok(())
}

#[test]
fn selectors_that_match_nothing_or_make_no_sense() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let run = |args: &[&str]| fleet.ctl.run([&["run", "shell"], args, &["--", "true"]].concat());
    check(run(&["-a", "nobody"])?, 5, &["nobody", "ref: "])?;
    check(run(&["-l", "env=moon"])?, 5, &["SELECTOR_NO_MATCH"])?;
    check(run(&["-l", "env=prod,,x"])?, 2, &["SELECTOR_SYNTAX", "^"])?;
    check(run(&[])?, 2, &["--agent"])?;
    Ok(())
}

#[test]
fn scripts_that_cannot_be_run() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let file = |name: &str, content: &[u8]| -> Result<String> {
        let path = fleet.path(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let run = |kind: &str, file: &str| fleet.ctl.run(["run", kind, "-a", "prod", "--file", file]);
    check(
        run("shell", "/no/such/file")?,
        2,
        &["SCRIPT_NOT_FOUND", "/no/such/file"],
    )?;
    check(run("shell", &file("empty.sh", b"")?)?, 2, &["SCRIPT_EMPTY"])?;
    check(run("sql", &file("blank.sql", b" \n \n")?)?, 2, &["SCRIPT_EMPTY"])?;
    check(
        run("shell", &file("large.sh", &vec![b'#'; 100 * 1024 * 1024])?)?,
        2,
        &["SCRIPT_TOO_LARGE", "512"],
    )?;
    check(
        run("shell", &file("binary", b"\x7fELF\0\0\x01")?)?,
        2,
        &["SCRIPT_BINARY"],
    )?;
    check(run("shell", &fleet.path(".").display().to_string())?, 2, &["ref: "])?;
    let crlf = run("shell", &file("crlf.sh", b"#!/bin/sh\r\necho windows\r\n")?)?;
    assert!(
        crlf.stderr.to_lowercase().contains("crlf") || crlf.stderr.contains("\\r"),
        "{}",
        crlf.stderr
    );
    Ok(())
}

#[test]
fn an_error_on_line_734_is_told_with_its_line() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let path = fleet.path("long.sql");
    std::fs::write(&path, format!("{}SELEKT 1;\n", "-- padding\n".repeat(733)))?;
    let ran = fleet
        .ctl
        .run(["run", "sql", "-a", "prod", "--file", &path.display().to_string()])?;
    check(ran, 3, &["734", "SELEKT", "SQL_FAILED"])
}

#[test]
fn commands_that_cannot_start_say_why() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let run = |args: &[&str]| fleet.ctl.run([&["run", "shell", "-a", "prod"], args].concat());
    check(
        run(&["--", "no-such-program"])?,
        3,
        &["PROGRAM_NOT_FOUND", "no-such-program"],
    )?;
    check(run(&["--cwd", "/no/such/folder", "--", "true"])?, 3, &["CWD_NOT_FOUND"])?;
    check(run(&["--", "sh", "-c", "kill -9 $$"])?, 3, &["KILLED_BY_SIGNAL", "9"])?;
    check(run(&["--timeout", "1s", "--", "sleep", "60"])?, 124, &["TIMED_OUT"])?;
    Ok(())
}

#[test]
fn tokens_that_are_wrong_or_revoked() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let list = |token: &str| fleet.ctl.with_token(token).run(["agent", "list"]);
    check(list("olp_wrong")?, 4, &["ref: "])?;
    let created = fleet
        .ctl
        .run(["token", "create", "ci", "--role", "viewer", "-o", "json"])?
        .expect(0)?
        .json()?;
    let secret = created["secret"].as_str().unwrap_or_default().to_owned();
    list(&secret)?.expect(0)?;
    let denied = fleet
        .ctl
        .with_token(&secret)
        .run(["run", "shell", "--all", "--", "true"])?;
    check(denied, 4, &["PERMISSION_DENIED"])?;
    let id = created["token"]["id"].as_str().unwrap_or_default().to_owned();
    fleet.ctl.run(["token", "revoke", &id, "--yes"])?.expect(0)?;
    check(list(&secret)?, 4, &["TOKEN_REVOKED"])
}

#[test]
fn clouds_that_cannot_start_say_why() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let refused = |options: &Options, words: &[&str]| -> Result<()> {
        let output = Cloud::command(options)?.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        for word in words {
            assert!(said.contains(word), "`{word}` is missing in:\n{said}");
        }
        Ok(())
    };
    refused(&Options::new(fleet.cloud.data()), &["DATA_FOLDER_LOCKED"])?;
    let taken = Options {
        listen: fleet.cloud.address().to_owned(),
        ..Options::new(fleet.path("second"))
    };
    refused(&taken, &["PORT_IN_USE", fleet.cloud.address()])?;
    refused(&Options::new("/proc/nothing"), &["DATA_FOLDER_UNWRITABLE"])?;
    let url = |url: &str| Options {
        database_url: Some(url.to_owned()),
        ..Options::new(fleet.path("third"))
    };
    refused(&url("mongodb://x"), &["DATABASE_URL_INVALID"])?;
    refused(
        &url("postgres://ops:x@127.0.0.1:9/ops"),
        &["DATABASE_NOT_OPENED", "refused"],
    )?;
    let postgres = Database::postgres()?;
    refused(&url(&postgres.url_with("wrong")), &["DATABASE_NOT_OPENED", "password"])?;
    let missing = format!("{}-nowhere", postgres.url());
    refused(
        &url(&missing),
        &["DATABASE_NOT_OPENED", "ops-nowhere", "does not exist", "--database-url"],
    )?;
    let public = Options {
        plain_listen: Some("0.0.0.0:0".into()),
        ..Options::new(fleet.path("fourth"))
    };
    refused(&public, &["CONFIG_INVALID", "127.0.0.1"])
}

#[test]
fn a_server_that_is_not_there_or_is_another_one() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    let url = fleet.cloud.url.clone();
    let other = Fleet::start(&[])?;
    let password = fleet.path("password");
    std::fs::write(&password, "never-sent\n")?;
    let login = [
        "login",
        &other.cloud.url,
        "--username",
        "admin",
        "--password-stdin",
        "--ca-sha256",
        &fleet.cloud.ca_sha256,
    ];
    let output = fleet
        .ctl
        .command(login)?
        .stdin(std::fs::File::open(password)?)
        .output()?;
    assert_eq!(output.status.code(), Some(9));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CA_"), "{output:?}");
    fleet.cloud.stop();
    check(
        fleet.ctl.run(["agent", "list"])?,
        9,
        &["SERVER_UNREACHABLE", url.trim_start_matches("https://")],
    )
}
