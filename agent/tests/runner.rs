//! The runner process by itself: a real process, a real folder, and an agent that is only a socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use opslink::{
    chunk,
    event::{EventBody, Stream},
    id::{AgentId, AttemptId, TaskId},
    pb,
    task::{Action, FakeSpec, FakeStep, ShellProgram, ShellSpec, TaskSpec},
};
use opslink_agent::{journal::AttemptDir, policy::Permit};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

const LIMIT: Duration = Duration::from_secs(20);

/// An attempt's folder in a state folder of its own, and the runner in it.
struct Attempt {
    state: tempfile::TempDir,
    dir: AttemptDir,
    runner: Option<Child>,
}

impl Attempt {
    fn new(action: Action) -> Self {
        let state = tempfile::tempdir().unwrap();
        let attempts = state.path().join("attempts");
        fs::create_dir(&attempts).unwrap();
        let id = AttemptId::new();
        let spec = TaskSpec {
            action,
            timeout: Duration::from_secs(60),
            grace: Duration::from_secs(1),
        };
        let envelope = pb::TaskEnvelope {
            attempt_id: id.to_string(),
            task_id: TaskId::new().to_string(),
            agent_id: AgentId::new().to_string(),
            spec: Some(spec.into()),
            ..Default::default()
        };
        // The agent has checked the signature before it made the folder.
        let signed = pb::SignedEnvelope {
            body: envelope.encode_to_vec().into(),
            ..Default::default()
        };
        let dir = AttemptDir::create(&attempts, id, &signed, &Permit::default()).unwrap();
        Self {
            state,
            dir,
            runner: None,
        }
    }

    fn socket(&self) -> PathBuf {
        self.state.path().join("agent.sock")
    }

    fn start(&mut self) {
        self.runner = Some(self.command().spawn().unwrap());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opslink-agent"));
        command
            .arg("runner")
            .arg(self.dir.path())
            .arg("--socket")
            .arg(self.socket());
        command.stdin(Stdio::null());
        command
    }

    /// Waits for the runner's own exit.
    async fn exit(&mut self) -> bool {
        let runner = self.runner.as_mut().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = runner.try_wait().unwrap() {
                return status.success();
            }
            assert!(start.elapsed() < LIMIT, "the runner does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn chunks(&self) -> Vec<pb::LogChunk> {
        let mut reader = self.dir.chunks().unwrap();
        std::iter::from_fn(|| reader.read().unwrap()).collect()
    }

    fn stdout(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut next_seq = 0;
        for chunk in self.chunks() {
            assert_eq!(chunk.first_seq, next_seq, "chunks are contiguous");
            next_seq = chunk::next_seq(&chunk);
            for event in chunk::decode(&chunk).unwrap() {
                if let EventBody::Output {
                    stream: Stream::Stdout,
                    data,
                } = event.body
                {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        bytes
    }

    fn outcome(&self) -> pb::Outcome {
        self.dir.record().unwrap().outcome.expect("the journal has the end")
    }

    /// Waits until stdout holds a whole line, and returns it.
    async fn first_line(&self) -> String {
        let start = Instant::now();
        loop {
            let out = self.stdout();
            if let Some(end) = out.iter().position(|byte| *byte == b'\n') {
                return String::from_utf8(out[..end].to_vec()).unwrap();
            }
            assert!(start.elapsed() < LIMIT, "no line appears");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(runner) = &mut self.runner {
            runner.kill().ok();
            runner.wait().ok();
        }
    }
}

/// The agent's end of the socket.
struct Agent {
    listener: UnixListener,
}

impl Agent {
    fn listen(attempt: &Attempt) -> Self {
        fs::remove_file(attempt.socket()).ok();
        Self {
            listener: UnixListener::bind(attempt.socket()).unwrap(),
        }
    }

    /// Waits for the runner and hears who it is.
    async fn accept(&self, attempt: &Attempt) -> UnixStream {
        let (mut stream, _) = tokio::time::timeout(LIMIT, self.listener.accept())
            .await
            .expect("it dials")
            .unwrap();
        let mut opening = [0; 4];
        stream.read_exact(&mut opening).await.unwrap();
        assert_eq!(&opening, b"OLR1");
        let (kind, fields) = frame(&mut stream).await;
        assert_eq!((kind, &fields[..16]), (b'H', &attempt.dir.id().uuid().as_bytes()[..]));
        stream
    }
}

/// The next frame: its kind and its fields.
async fn frame(stream: &mut UnixStream) -> (u8, Vec<u8>) {
    let read = async {
        let length = stream.read_u32_le().await.unwrap();
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
        frame
    };
    let frame = tokio::time::timeout(LIMIT, read).await.expect("a frame comes");
    assert_eq!(frame[0], 1, "version");
    (frame[1], frame[2..].to_vec())
}

async fn word(stream: &mut UnixStream) -> u8 {
    frame(stream).await.0
}

/// What a newer agent might say, then what this runner knows.
async fn cancel(stream: &mut UnixStream) {
    let unknown = [&6u32.to_le_bytes()[..], &[9, b'K'], b"more"].concat();
    let known = [&2u32.to_le_bytes()[..], &[1, b'K']].concat();
    stream.write_all(&[unknown, known].concat()).await.unwrap();
}

fn sh(text: &str) -> Action {
    let program = ShellProgram::Argv(vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()]);
    Action::Shell(ShellSpec {
        program,
        env: Default::default(),
        cwd: None,
        stdin: Bytes::new(),
        run_as: None,
    })
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test]
async fn an_attempt_runs_without_any_agent_and_ends_in_the_journal() {
    let mut attempt = Attempt::new(sh("echo hello; exit 5"));
    attempt.start();
    assert!(attempt.exit().await);
    assert_eq!(attempt.stdout(), b"hello\n");
    let outcome = attempt.outcome();
    assert_eq!((outcome.kind(), outcome.exit_code), (pb::OutcomeKind::Failed, Some(5)));
    assert_eq!(attempt.chunks().pop().unwrap().outcome, Some(outcome));
    assert!(!attempt.dir.scratch().exists());
}

#[tokio::test]
async fn the_agent_hears_of_chunks_and_of_the_end() {
    let mut attempt = Attempt::new(sh("echo one; read x < /dev/null; sleep 0.2"));
    let agent = Agent::listen(&attempt);
    attempt.start();
    let mut stream = agent.accept(&attempt).await;
    assert_eq!(frame(&mut stream).await, (b'W', 1u64.to_le_bytes().to_vec()));
    assert_eq!(attempt.first_line().await, "one");
    let mut last = word(&mut stream).await;
    while last == b'W' {
        last = word(&mut stream).await;
    }
    assert_eq!(last, b'E');
    // The word came after the record.
    attempt.outcome();
    assert!(attempt.exit().await);
}

#[tokio::test]
async fn a_new_agent_is_dialed_and_its_cancel_heard() {
    let mut attempt = Attempt::new(sh("echo up; sleep 100"));
    let agent = Agent::listen(&attempt);
    attempt.start();
    let first = agent.accept(&attempt).await;
    attempt.first_line().await;
    let pid = attempt.runner.as_ref().unwrap().id();
    // As kill -9 of the agent does: the stream breaks, the socket is nobody's.
    drop((first, agent));

    let agent = Agent::listen(&attempt);
    let mut second = agent.accept(&attempt).await;
    assert_eq!(attempt.runner.as_ref().unwrap().id(), pid, "the same runner");
    cancel(&mut second).await;
    assert!(attempt.exit().await);
    assert_eq!(attempt.outcome().kind(), pb::OutcomeKind::Canceled);
}

#[tokio::test]
async fn a_cancel_that_was_written_down_before_the_start_runs_nothing() {
    let mut attempt = Attempt::new(sh("echo ran"));
    attempt.dir.request_cancel().unwrap();
    attempt.start();
    assert!(attempt.exit().await);
    assert_eq!(
        (attempt.outcome().kind(), attempt.stdout()),
        (pb::OutcomeKind::Canceled, Vec::new())
    );
}

/// T43.
#[tokio::test]
async fn a_process_that_forks_twice_leaves_its_session_and_ignores_term_is_gone_when_canceled() {
    let daemon = "setsid sh -c 'trap \"\" TERM HUP INT; (trap \"\" TERM; echo $$; sh -c \"echo \\$PPID\"; \
                  while :; do sleep 1; done) & exit 0' & wait; sleep 100";
    let mut attempt = Attempt::new(sh(daemon));
    let agent = Agent::listen(&attempt);
    attempt.start();
    let mut stream = agent.accept(&attempt).await;
    let start = Instant::now();
    let pid = loop {
        let out = String::from_utf8(attempt.stdout()).unwrap();
        if let Some(pid) = out.lines().nth(1).filter(|_| out.ends_with('\n')) {
            break pid.to_owned();
        }
        assert!(start.elapsed() < LIMIT, "the daemon does not start: {out}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert!(is_alive(&pid));
    let start = Instant::now();
    cancel(&mut stream).await;
    assert!(attempt.exit().await);
    assert_eq!(attempt.outcome().kind(), pb::OutcomeKind::Canceled);
    assert!(!is_alive(&pid), "{pid} is left");
    // Grace is one second.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// A process that is always another one: each forks the next and ends. No list of processes shows it for sure.
#[tokio::test]
async fn a_chain_of_processes_that_is_never_the_same_is_gone_when_canceled() {
    let chain = "use POSIX; $SIG{TERM} = 'IGNORE'; $| = 1; print \"up\\n\"; \
                 while (1) { my $pid = fork; exit 0 if $pid; POSIX::setsid(); select(undef, undef, undef, 0.0003) }";
    for round in 0..10 {
        let program = ShellProgram::Argv(
            ["sh", "-c", "perl -e \"$0\" & sleep 100", chain]
                .map(str::to_owned)
                .to_vec(),
        );
        let mut attempt = Attempt::new(Action::Shell(ShellSpec {
            program,
            env: Default::default(),
            cwd: None,
            stdin: Bytes::new(),
            run_as: None,
        }));
        let agent = Agent::listen(&attempt);
        attempt.start();
        let mut stream = agent.accept(&attempt).await;
        attempt.first_line().await;
        cancel(&mut stream).await;
        assert!(attempt.exit().await);
        assert_eq!(attempt.outcome().kind(), pb::OutcomeKind::Canceled);
        let mark = format!("OPSLINK_ATTEMPT_ID={}", attempt.dir.id());
        let left = marked(&mark);
        assert!(left.is_empty(), "round {round}: {left:?} are left");
    }
}

/// Processes that carry this in their environment.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn an_attempt_is_never_started_twice() {
    let mut attempt = Attempt::new(sh("echo ran"));
    attempt.start();
    assert!(attempt.exit().await);
    let again = attempt.command().stderr(Stdio::null()).status().unwrap();
    assert!(!again.success());
    assert_eq!(attempt.stdout(), b"ran\n");
}

#[tokio::test]
async fn a_flood_arrives_whole_with_its_digest() {
    let bytes = 30_000_000;
    let mut attempt = Attempt::new(Action::Fake(FakeSpec {
        steps: vec![FakeStep::Flood(bytes)],
    }));
    attempt.start();
    assert!(attempt.exit().await);
    let (out, outcome) = (attempt.stdout(), attempt.outcome());
    assert_eq!(out.len() as u64, bytes);
    assert_eq!(outcome.streams[0].blake3, blake3::hash(&out).as_bytes()[..]);
}
