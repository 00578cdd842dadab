//! A state folder, the launcher on it, and what tests ask of both.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use opslink::{
    id::{AttemptId, TaskId},
    pb,
    time::UnixMicros,
};
use opslink_agent::{
    config::StateDir,
    journal::AttemptDir,
    launch::{Launcher, Order, Phase, ProcessLauncher},
    policy::Permit,
};
use prost::Message;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_opslink-agent");

/// A state folder and the agent's half that runs attempts in it.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) launcher: Option<ProcessLauncher>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        state.prepare().unwrap();
        let mut bench = Self { folder, launcher: None };
        bench.restart();
        bench
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::new(self.folder.path())
    }

    pub(crate) fn restart(&mut self) {
        self.launcher = None;
        self.launcher = Some(ProcessLauncher::open(&self.state(), PathBuf::from(PROGRAM)).unwrap());
    }

    pub(crate) fn launcher(&self) -> &ProcessLauncher {
        self.launcher.as_ref().unwrap()
    }

    pub(crate) fn dir(&self, id: AttemptId) -> AttemptDir {
        AttemptDir::open(&self.state().attempts().join(id.to_string())).unwrap()
    }

    pub(crate) async fn start(&self, script: &str) -> AttemptId {
        let order = order(script);
        let id = order.id;
        self.launcher().start(order).await.unwrap();
        id
    }

    /// Waits for the runner's own word that it has started; returns its pid.
    pub(crate) async fn runner_of(&self, id: AttemptId) -> u32 {
        let dir = self.dir(id);
        wait_for("the runner to start", || {
            dir.record().unwrap().runner.map(|runner| runner.pid)
        })
        .await
    }

    /// Runs a task to its end; returns the pids of the fork server and of the runner that it has forked ahead.
    pub(crate) async fn server_and_spare(&self) -> (u32, u32) {
        let gate = self.folder.path().join("gate");
        let first = self
            .start(&format!(
                "until test -e {}; do sleep 0.01; done; exit 3",
                gate.display()
            ))
            .await;
        let server = parent_of(self.runner_of(first).await);
        std::fs::write(gate, "").unwrap();
        assert_eq!(self.outcome(first).await.exit_code, Some(3));
        let spare = wait_for("the spare alone", || match children_of(server).as_slice() {
            [spare] => Some(*spare),
            _ => None,
        })
        .await;
        (server, spare)
    }

    pub(crate) async fn outcome(&self, id: AttemptId) -> pb::Outcome {
        self.outcome_within(id, Duration::from_secs(30)).await
    }

    pub(crate) async fn outcome_within(&self, id: AttemptId, limit: Duration) -> pb::Outcome {
        let launcher = self.launcher();
        let has_ended = || {
            launcher
                .known()
                .iter()
                .any(|known| (known.id, known.phase) == (id, Phase::Ended))
        };
        let ended = async {
            while !has_ended() {
                launcher.changed().await;
            }
        };
        tokio::time::timeout(limit, ended)
            .await
            .expect("the attempt did not end in time");
        let mut seq = 0;
        loop {
            let chunk = launcher.read(id, seq).unwrap().expect("an end");
            seq = chunk.first_seq + u64::from(chunk.event_count);
            if let Some(outcome) = chunk.outcome {
                assert_eq!(launcher.read(id, seq).unwrap(), None, "nothing follows the end");
                return outcome;
            }
        }
    }
}

pub(crate) fn order(script: &str) -> Order {
    let id = AttemptId::new();
    let shell = pb::ShellSpec {
        script: script.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let envelope = pb::TaskEnvelope {
        attempt_id: id.to_string(),
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        }),
        expires_time_us: UnixMicros::now().0,
        ..Default::default()
    };
    let signed = pb::SignedEnvelope {
        body: envelope.encode_to_vec().into(),
        ..Default::default()
    };
    Order {
        id,
        signed,
        envelope,
        permit: Permit::default(),
        start_by: None,
    }
}

/// An attempt with this number of this task.
pub(crate) fn numbered(task: TaskId, number: u32, script: &str) -> Order {
    let mut order = order(script);
    order.envelope.task_id = task.to_string();
    order.envelope.attempt_number = number;
    order.signed.body = order.envelope.encode_to_vec().into();
    order
}

pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "waited 30 s for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn kill_hard(pid: u32) {
    signal("-9", pid);
}

/// Stopped, it does nothing until it is killed.
pub(crate) fn stop(pid: u32) {
    signal("-STOP", pid);
}

fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

pub(crate) fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

/// The lock is released when the last thread of the runner is gone, a moment after its death.
pub(crate) fn is_unlocked(dir: &AttemptDir) -> Option<()> {
    std::fs::File::open(dir.path().join("state")).unwrap().try_lock().ok()
}

pub(crate) fn is_gone(path: &Path) -> Option<()> {
    (!path.exists()).then_some(())
}
