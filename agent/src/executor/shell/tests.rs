//! Real processes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use nix::unistd::geteuid;
use opslink::{
    event::Stream,
    task::{Action, ExecutionState, Outcome, ShellProgram, ShellSpec},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    connections::Connections,
    executor,
    policy::Permit,
    runner::{
        Attempt, drive_with_thread,
        testing::{MemorySpool, envelope, wait_for},
    },
};

const LONG: Duration = Duration::from_secs(60);

fn argv(words: &[&str]) -> ShellSpec {
    spec(ShellProgram::Argv(
        words.iter().map(|word| (*word).to_owned()).collect(),
    ))
}

fn script(text: &[u8], interpreter: Option<&str>, args: &[&str]) -> ShellSpec {
    spec(ShellProgram::Script {
        text: Bytes::copy_from_slice(text),
        interpreter: interpreter.map(str::to_owned),
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        name: "test.sh".to_owned(),
    })
}

fn sh(text: &str) -> ShellSpec {
    argv(&["sh", "-c", text])
}

fn spec(program: ShellProgram) -> ShellSpec {
    ShellSpec {
        program,
        env: BTreeMap::new(),
        cwd: None,
        stdin: Bytes::new(),
        run_as: None,
    }
}

struct Ran {
    outcome: Outcome,
    spool: Arc<MemorySpool>,
}

impl Ran {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.spool.bytes(Stream::Stdout)).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.spool.bytes(Stream::Stderr)).into_owned()
    }

    fn reason(&self) -> &str {
        &self.outcome.reason
    }
}

async fn run(spec: ShellSpec) -> Ran {
    run_until(spec, LONG, CancellationToken::new()).await
}

async fn run_until(spec: ShellSpec, timeout: Duration, cancel: CancellationToken) -> Ran {
    let spool = Arc::new(MemorySpool::default());
    let outcome = run_into(&spool, spec, timeout, cancel).await;
    Ran { outcome, spool }
}

async fn run_into(spool: &Arc<MemorySpool>, spec: ShellSpec, timeout: Duration, cancel: CancellationToken) -> Outcome {
    let (executors, connections, theirs) = (executor::all(), Arc::new(Connections::default()), Arc::clone(spool));
    drive_with_thread(
        envelope(Action::Shell(spec), timeout),
        &executors,
        connections,
        theirs,
        cancel,
    )
    .await
}

#[tokio::test]
async fn stdout_and_stderr_stay_apart_and_the_exit_code_is_kept() {
    let ran = run(sh("echo out; echo err >&2; exit 3")).await;
    assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("out\n", "err\n"));
    assert_eq!(
        (ran.outcome.state, ran.outcome.exit_code),
        (ExecutionState::Failed, Some(3))
    );
    assert_eq!(ran.reason(), "EXIT_NONZERO");
}

#[tokio::test]
async fn a_signal_is_told_by_number_and_name() {
    let ran = run(sh("kill -SEGV $$")).await;
    assert_eq!((ran.outcome.signal, ran.reason()), (Some(11), "KILLED_BY_SIGNAL"));
    assert!(ran.outcome.message.contains("SIGSEGV"), "{}", ran.outcome.message);
}

/// T21.
#[tokio::test]
async fn five_hundred_odd_arguments_arrive_byte_by_byte() {
    let odd = prop_oneof![
        "[-|&;<>()$`\"'*?\\[\\]#~=% \t\n\\\\a-z]{0,24}",
        "\\$\\([a-z]{1,8}\\)|`[a-z]{1,8}`|\\$\\{[A-Z]{1,8}\\}|%[sdn]{1,3}",
        "[^\u{0}]{0,16}",
    ];
    let mut runner = TestRunner::deterministic();
    let values: Vec<String> = (0..500).map(|_| odd.new_tree(&mut runner).unwrap().current()).collect();
    let words = ["/usr/bin/env", "printf", "%s\\0"]
        .into_iter()
        .chain(values.iter().map(String::as_str));
    let ran = run(argv(&words.collect::<Vec<_>>())).await;
    let bytes = ran.spool.bytes(Stream::Stdout);
    let found: Vec<&[u8]> = bytes.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
    assert_eq!(found, values.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[tokio::test]
async fn nul_and_invalid_utf8_and_a_huge_line_pass_unchanged() {
    let ran = run(sh(
        r"printf 'a\000b\377\033[31m'; head -c 3000000 /dev/zero | tr '\0' x",
    ))
    .await;
    let bytes = ran.spool.bytes(Stream::Stdout);
    assert_eq!(&bytes[..9], b"a\0b\xff\x1b[31m");
    assert_eq!(bytes.len(), 9 + 3_000_000);
    assert!(bytes[9..].iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn env_cwd_and_stdin_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = sh(r#"printf '%s|' "$A"; pwd -P; cat"#);
    spec.env.insert("A".to_owned(), "x y\n".to_owned());
    spec.cwd = Some(folder.path().to_str().unwrap().to_owned());
    spec.stdin = vec![b'i'; 200_000].into();
    let ran = run(spec).await;
    let expected = format!("x y\n|{}\n", folder.path().canonicalize().unwrap().display());
    assert!(ran.stdout() == expected + &"i".repeat(200_000), "{:?}", ran.outcome);
}

#[tokio::test]
async fn input_that_is_not_read_hurts_nobody() {
    let mut spec = argv(&["true"]);
    spec.stdin = vec![b'i'; 200_000].into();
    assert_eq!(run(spec).await.outcome.state, ExecutionState::Succeeded);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let missing = run(argv(&["no-such-program-here"])).await;
    assert_eq!(
        (missing.outcome.state, missing.reason()),
        (ExecutionState::Failed, "PROGRAM_NOT_FOUND")
    );
    assert!(missing.outcome.message.contains("PATH="), "{}", missing.outcome.message);
    assert!(missing.outcome.message.contains("no-such-program-here"));

    let mut nowhere = argv(&["true"]);
    nowhere.cwd = Some("/no/such/folder".to_owned());
    assert_eq!(run(nowhere).await.reason(), "CWD_NOT_FOUND");

    assert_eq!(run(argv(&["/etc/passwd"])).await.reason(), "PROGRAM_NOT_EXECUTABLE");
    let interpreter = run(script(b"#!/no/such/interpreter\n", None, &[])).await;
    assert_eq!(interpreter.reason(), "PROGRAM_NOT_FOUND");
    assert!(
        interpreter.outcome.message.contains("interpreter"),
        "{}",
        interpreter.outcome.message
    );

    let mut odd = argv(&["true"]);
    odd.env.insert("A=B".to_owned(), String::new());
    assert_eq!(run(odd).await.outcome.state, ExecutionState::Refused);
}

#[tokio::test]
async fn scripts_run_with_their_interpreter_and_arguments() {
    let text = b"#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n";
    assert_eq!(
        run(script(text, None, &["a b", "$(c)"])).await.stdout(),
        "['a b', '$(c)']\n"
    );
    assert_eq!(
        run(script(b"echo $# \"$1\"\n", None, &["x  y"])).await.stdout(),
        "1 x  y\n"
    );
    let bash = run(script(b"a=(1 2 3); echo ${#a[@]}\n", Some("bash"), &[])).await;
    assert_eq!(bash.stdout(), "3\n");
    assert_eq!(run(script(b"\x7fELF\0\0", None, &[])).await.reason(), "SCRIPT_BINARY");
}

#[tokio::test]
async fn a_windows_script_runs_as_it_was_meant_and_says_so() {
    let ran = run(script(b"#!/bin/sh\r\nif true; then\r\n  echo yes\r\nfi\r\n", None, &[])).await;
    assert_eq!(
        (ran.stdout().as_str(), ran.outcome.state),
        ("yes\n", ExecutionState::Succeeded)
    );
    assert_eq!(ran.spool.note_reasons(), ["SCRIPT_CRLF_CONVERTED"]);
}

/// T44.
#[tokio::test]
async fn a_daemon_that_keeps_the_output_delays_the_end_by_no_more_than_two_seconds() {
    let start = Instant::now();
    let ran = run(sh("sleep 20 & echo $!; exit 4")).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(ran.outcome.exit_code, Some(4));
    assert_eq!(ran.spool.note_reasons(), ["PROCESSES_LEFT_RUNNING"]);
    let daemon: i32 = ran.stdout().trim().parse().unwrap();
    // It was left alone, as a service that somebody starts would want; this test ends it.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn late_words_of_a_background_process_are_kept() {
    let ran = run(sh("(sleep 0.2; echo late) & echo early")).await;
    assert_eq!(ran.stdout(), "early\nlate\n");
    assert_eq!(ran.spool.note_reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_ends_everything_that_runs() {
    let cancel = CancellationToken::new();
    let spec = sh("trap '' TERM; sleep 100 & (sleep 100; sleep 100) & echo $$ ; while :; do sleep 1; done");
    let spool = Arc::new(MemorySpool::default());
    let canceler = async {
        wait_for("the first line", || !spool.chunks().is_empty()).await;
        cancel.cancel();
    };
    let start = Instant::now();
    let (outcome, ()) = tokio::join!(run_into(&spool, spec, LONG, cancel.clone()), canceler);
    let ran = Ran {
        outcome,
        spool: Arc::clone(&spool),
    };
    assert_eq!(ran.outcome.state, ExecutionState::Canceled);
    // Grace is one second; TERM is ignored, so KILL did it.
    assert_eq!(ran.outcome.signal, Some(9));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let group: u32 = ran.stdout().trim().parse().unwrap();
    assert_eq!(
        super::tree::ProcessTree::of(Some(group)).members(),
        [],
        "nothing of it is left"
    );
}

#[tokio::test]
async fn the_environment_is_clean_and_names_the_attempt() {
    let ran = run(argv(&["env"])).await;
    let known = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "OPSLINK_ATTEMPT_ID",
        "OPSLINK_TASK_ID",
    ];
    let out = ran.stdout();
    let names: Vec<_> = out
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    // Cargo has given this process many more.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(
        names.iter().all(|name| known.contains(name) || name.starts_with("LC_")),
        "{names:?}"
    );
    assert!(
        names.contains(&"PATH") && names.contains(&"OPSLINK_ATTEMPT_ID"),
        "{names:?}"
    );
}

#[tokio::test]
async fn the_owner_may_add_to_the_environment_and_limit_the_program() {
    let permit = Permit {
        program: Some(std::fs::canonicalize("/usr/bin/env").unwrap()),
        inherit: vec!["CARGO_MANIFEST_*".to_owned()],
    };
    // What the task names is not looked at any more.
    let mut spec = argv(&["./anything"]);
    spec.env.insert("PATH".to_owned(), "/nowhere".to_owned());
    let spool = Arc::new(MemorySpool::default());
    let attempt = Attempt {
        envelope: envelope(Action::Shell(spec), LONG),
        permit,
    };
    let (executors, connections) = (executor::all(), Arc::new(Connections::default()));
    let theirs = Arc::clone(&spool);
    let outcome = drive_with_thread(attempt, &executors, connections, theirs, CancellationToken::new()).await;
    assert_eq!(outcome.state, ExecutionState::Succeeded, "{outcome:?}");
    let out = String::from_utf8(spool.bytes(Stream::Stdout)).unwrap();
    assert!(
        out.contains("CARGO_MANIFEST_DIR=") && !out.contains("CARGO_PKG_NAME="),
        "{out}"
    );
}

#[tokio::test]
async fn the_deadline_ends_softly_when_that_is_enough() {
    let start = Instant::now();
    let spec = sh("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done");
    let ran = run_until(spec, Duration::from_secs(1), CancellationToken::new()).await;
    assert_eq!(
        (ran.outcome.state, ran.outcome.exit_code),
        (ExecutionState::TimedOut, Some(0))
    );
    assert_eq!(ran.stdout(), "bye\n");
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn run_as_changes_user_groups_and_home_or_is_denied() {
    let mut spec = script(b"id -u; id -G; echo $HOME; echo to-stderr >/dev/stderr\n", None, &[]);
    spec.run_as = Some("nobody".to_owned());
    let ran = run(spec).await;
    if !geteuid().is_root() {
        assert_eq!(ran.reason(), "RUN_AS_DENIED");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let expected = format!("{}\n{}\n{}\n", nobody.uid, nobody.gid, nobody.dir.display());
    assert_eq!(
        (ran.stdout(), ran.stderr().as_str()),
        (expected, "to-stderr\n"),
        "{:?}",
        ran.outcome
    );
    assert!(geteuid().is_root(), "the agent stays who it is");
}
