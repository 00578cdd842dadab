//! The program itself, without a cloud: exit codes, what goes to stdout and what to stderr, what is never sent.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn cloudctl(config: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloudctl"))
        .args(args)
        .env_clear()
        .env("CLOUDCTL_CONFIG", config)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_failure_is_three_lines_and_a_reason_on_stderr_and_nothing_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let output = cloudctl(folder.path(), &["agent", "list"]);
    assert_eq!(code(&output), 4);
    assert!(output.stdout.is_empty());
    let lines: Vec<String> = stderr(&output)
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["error", "cause", "try", "ref"]);
    assert!(stderr(&output).contains("NOT_LOGGED_IN"));
}

#[test]
fn bad_input_is_refused_before_anything_is_asked_of_the_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let cases = [
        (folder.path().join("none.sh").display().to_string(), "SCRIPT_NOT_FOUND"),
        (folder.path().display().to_string(), "SCRIPT_IS_FOLDER"),
        (file("empty.sh", b""), "SCRIPT_EMPTY"),
        (file("binary.sh", b"\x7fELF\0\0\0"), "SCRIPT_BINARY"),
        (file("crlf.sh", b"#!/bin/sh\r\necho\r\n"), "SCRIPT_HAS_CRLF"),
        (file("big.sh", &vec![b'x'; 600 * 1024]), "SCRIPT_TOO_LARGE"),
    ];
    for (path, reason) in &cases {
        let output = cloudctl(folder.path(), &["run", "shell", "-a", "x", "--file", path]);
        assert_eq!(code(&output), 2, "{reason}: {}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{reason}: {}", stderr(&output));
    }
}

#[test]
fn a_request_can_be_looked_at_without_a_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["run", "shell", "-a", "prod", "--print-request", "--", "echo", "a b"];
    let output = cloudctl(folder.path(), &args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let request: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(request["spec"]["shell"]["argv"], serde_json::json!(["echo", "a b"]));
    assert_eq!(request["selector"]["names"], serde_json::json!(["prod"]));
    assert!(request["requestId"].as_str().is_some_and(|id| id.len() == 36));
}

#[test]
fn no_target_is_a_mistake_and_not_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let output = cloudctl(folder.path(), &["run", "shell", "--", "reboot"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("SELECTOR_EMPTY"));
}

#[test]
fn an_unreachable_cloud_is_exit_code_9() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    std::fs::write(folder.path().join("token"), "olp_x").unwrap();
    let token = folder.path().join("token").display().to_string();
    let output = cloudctl(
        folder.path(),
        &["--server", &url, "--token-file", &token, "agent", "list"],
    );
    assert_eq!(code(&output), 9, "{}", stderr(&output));
    assert!(stderr(&output).contains("SERVER_UNREACHABLE"));
}

#[test]
fn a_token_may_come_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let stdin = folder.path().join("stdin");
    let run = |line: &str| {
        std::fs::write(&stdin, line).unwrap();
        Command::new(env!("CARGO_BIN_EXE_cloudctl"))
            .args(["--server", "http://127.0.0.1:1", "--token-file", "-", "agent", "list"])
            .env_clear()
            .env("CLOUDCTL_CONFIG", folder.path())
            .stdin(std::fs::File::open(&stdin).unwrap())
            .output()
            .unwrap()
    };
    let with_token = run("olp_x\nand more\n");
    assert_eq!(code(&with_token), 9, "{}", stderr(&with_token));
    let without = run("");
    assert_eq!(code(&without), 2, "{}", stderr(&without));
    assert!(stderr(&without).contains("STDIN_EMPTY"), "{}", stderr(&without));
    assert!(stderr(&without).contains("--token-file -"), "{}", stderr(&without));
}

#[test]
fn without_a_terminal_a_login_names_the_missing_flag() {
    let folder = tempfile::tempdir().unwrap();
    let output = cloudctl(folder.path(), &["login", "http://127.0.0.1:1"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("--with-token"), "{}", stderr(&output));
}

#[test]
fn lists_without_entries_are_an_empty_array() {
    let folder = tempfile::tempdir().unwrap();
    let output = cloudctl(folder.path(), &["context", "list", "-o", "json"]);
    assert_eq!((code(&output), output.stdout.as_slice()), (0, &b"[]\n"[..]));
}

#[test]
fn a_typo_is_exit_code_2_and_help_is_0_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let typo = cloudctl(folder.path(), &["agent", "lits"]);
    assert_eq!(code(&typo), 2);
    assert!(stderr(&typo).contains("list"), "{}", stderr(&typo));
    let help = cloudctl(folder.path(), &["run", "sql", "--help"]);
    assert_eq!(code(&help), 0);
    assert!(String::from_utf8(help.stdout).unwrap().contains("--read-only"));
}

#[test]
fn messages_come_in_the_language_of_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let output = cloudctl(folder.path(), &["--lang", "zh-CN", "agent", "list"]);
    assert!(stderr(&output).starts_with("错误:"), "{}", stderr(&output));
}

#[test]
fn completion_can_be_switched_on_in_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = cloudctl(folder.path(), &["completion", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(
            String::from_utf8(output.stdout).unwrap().contains("cloudctl"),
            "{shell}"
        );
    }
}

/// What the shell gets that asks for candidates for the last of these words.
fn offered(shell: &str, config: &Path, here: &Path, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cloudctl"))
        .args(["--", "cloudctl"])
        .args(words)
        .env_clear()
        .env("COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .env("CLOUDCTL_CONFIG", config)
        .current_dir(here)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |line: &str| line.split(['\t', ':']).next().unwrap_or_default().to_owned();
    text.lines().map(value).collect()
}

#[test]
fn files_are_offered_where_a_file_is_meant_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("demo.sql"), "select 1").unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let offered = |words: &[&str]| offered(shell, folder.path(), folder.path(), words);
        for words in [
            &["run", "sql", "--file", "demo"][..],
            &["run", "sql", "-a", "prod", "demo"],
            &["run", "shell", "--stdin", "demo"],
            &["--token-file", "demo"],
        ] {
            assert_eq!(offered(words), ["demo.sql"], "{shell} {words:?}");
        }
        assert_eq!(offered(&["api", "ListAgents", "@demo"]), ["@demo.sql"], "{shell}");
        assert_eq!(offered(&["run", "shell", "--output-dir", "de"]), ["deep/"], "{shell}");
        assert!(offered(&["run", "sql", "--conn", "demo"]).is_empty(), "{shell}");
        assert!(offered(&["task", "get", "demo"]).is_empty(), "{shell}");
    }
}

#[test]
fn contexts_and_methods_are_offered_without_a_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let contexts = "[contexts.prod]\nserver = 'https://a:1'\n[contexts.test]\nserver = 'https://b:1'\n";
    std::fs::write(folder.path().join("config.toml"), contexts).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let offered = |words: &[&str]| offered(shell, folder.path(), folder.path(), words);
        assert_eq!(offered(&["context", "use", "p"]), ["prod"], "{shell}");
        assert_eq!(offered(&["context", "remove", "t"]), ["test"], "{shell}");
        assert_eq!(
            offered(&["agent", "list", "--context", ""]),
            ["prod", "test"],
            "{shell}"
        );
        assert_eq!(offered(&["api", "WatchT"]), ["WatchTask"], "{shell}");
    }
}

#[test]
fn bash_completes_files_with_the_script_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("demo.sql"), "select 1").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_cloudctl")).parent().unwrap();
    let line = "eval \"$(cloudctl completion bash)\"; COMP_WORDS=(cloudctl run sql --file de); COMP_CWORD=4; \
                _clap_complete_cloudctl cloudctl de --file; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p cloudctl";
    let output = Command::new("bash")
        .args(["--norc", "-c", line])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("CLOUDCTL_CONFIG", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("demo.sql\n"), "{text} {}", stderr(&output));
    // For `--file=de` and `@de`, which bash takes apart.
    assert!(text.contains("-o default"), "{text}");
}

#[test]
fn whoever_brings_everything_needs_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "contexts = 7").unwrap();
    let run = |config: Option<&Path>, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudctl"));
        command
            .args(args)
            .env_clear()
            .env("CLOUDCTL_SERVER", "http://127.0.0.1:1")
            .env("CLOUDCTL_TOKEN", "olp_x");
        if let Some(config) = config {
            command.env("CLOUDCTL_CONFIG", config);
        }
        command.stdin(Stdio::null()).output().unwrap()
    };
    for config in [None, Some(folder.path())] {
        let output = run(config, &["agent", "list"]);
        assert_eq!(code(&output), 9, "{config:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("SERVER_UNREACHABLE"), "{}", stderr(&output));
        let output = run(config, &["version"]);
        assert_eq!(code(&output), 0, "{config:?}: {}", stderr(&output));
    }
    // The pin of another address is in the file, or nowhere.
    let pinned = run(
        Some(folder.path()),
        &["--server", "https://127.0.0.1:1", "agent", "list"],
    );
    assert!(stderr(&pinned).contains("CONFIG_FILE_INVALID"), "{}", stderr(&pinned));
    // A login is kept somewhere, and says so before it asks for anything.
    let login = run(None, &["login", "http://127.0.0.1:1"]);
    assert!(stderr(&login).contains("NO_CONFIG_FOLDER"), "{}", stderr(&login));
}

#[test]
fn a_format_for_lists_in_the_environment_breaks_no_run_and_one_on_the_line_is_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let run = |from_environment: &str, args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_cloudctl"))
            .args(["run", "shell", "-a", "x"])
            .args(args)
            .args(["--", "true"])
            .env_clear()
            .env("CLOUDCTL_CONFIG", folder.path())
            .env("CLOUDCTL_OUTPUT", from_environment)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    for format in ["yaml", "name", "json", "csv"] {
        // It comes as far as the question where the cloud is.
        let output = run(format, &[]);
        assert!(
            stderr(&output).contains("NOT_LOGGED_IN"),
            "{format}: {}",
            stderr(&output)
        );
        let output = run("table", &["-o", format]);
        assert_eq!(code(&output), 2, "{format}: {}", stderr(&output));
        assert!(stderr(&output).contains("FORMAT_NOT_FOR_LINES"), "{}", stderr(&output));
        let output = run("table", &["-o", format, "--detach"]);
        assert!(
            stderr(&output).contains("NOT_LOGGED_IN"),
            "{format}: {}",
            stderr(&output)
        );
    }
}
