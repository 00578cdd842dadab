//! State that an agent of 0.1.0 has left, byte by byte as it wrote it, with a runner of its own still at work.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use opslink::{id::AttemptId, pb};
use opslink_agent::{
    journal::boot_id,
    launch::{Launcher, Phase},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::bench::{Bench, order, wait_for};

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [
        &length.to_le_bytes()[..],
        &crc32c::crc32c(payload).to_le_bytes(),
        payload,
    ]
    .concat()
}

/// What an agent and a runner of 0.1.0 have written, and that runner.
struct Old {
    id: AttemptId,
    folder: PathBuf,
    state: File,
    chunks: u64,
}

impl Old {
    fn new(bench: &Bench) -> Self {
        let task = order("sleep 60");
        let id = task.id;
        let fence = [&id.uuid().as_bytes()[..], &i64::MAX.to_le_bytes(), &[0]].concat();
        fs::write(bench.state().fence(), frame(&fence)).unwrap();
        let folder = bench.state().attempts().join(id.to_string());
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let state = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("state"))
            .unwrap();
        // A runner holds it as long as it lives.
        state.lock().unwrap();
        let boot = boot_id();
        let length = [u8::try_from(boot.len()).unwrap()];
        let envelope = task.signed.encode_to_vec();
        let received = [&[1][..], &5i64.to_le_bytes(), &length, boot.as_bytes(), &envelope].concat();
        let pid = std::process::id().to_le_bytes();
        let started = [
            &[2][..],
            &6i64.to_le_bytes(),
            &pid,
            &7u64.to_le_bytes(),
            boot.as_bytes(),
        ]
        .concat();
        let mut old = Self {
            id,
            folder,
            state,
            chunks: 0,
        };
        old.record(&received);
        old.record(&started);
        old.chunk(None);
        old
    }

    fn record(&mut self, payload: &[u8]) {
        self.state.write_all(&frame(payload)).unwrap();
    }

    fn chunk(&mut self, outcome: Option<pb::Outcome>) {
        let chunk = pb::LogChunk {
            attempt_id: self.id.to_string(),
            first_seq: self.chunks,
            event_count: 1,
            outcome,
            ..Default::default()
        };
        self.chunks += 1;
        let path = self.folder.join("chunks");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(&frame(&chunk.encode_to_vec())).unwrap();
    }

    async fn dial(&self, bench: &Bench) -> UnixStream {
        let mut stream = UnixStream::connect(bench.state().socket()).await.unwrap();
        stream.write_all(self.id.uuid().as_bytes()).await.unwrap();
        stream
    }
}

fn succeeded() -> pb::Outcome {
    pb::Outcome {
        kind: pb::OutcomeKind::Succeeded.into(),
        exit_code: Some(0),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_runner_of_the_version_before_is_adopted_and_goes_on_to_its_end() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let mut old = Old::new(&bench);
    bench.restart();
    let launcher = bench.launcher();
    let known = launcher.known();
    assert_eq!(
        (known[0].id, known[0].phase, known[0].next_seq),
        (old.id, Phase::Running, 1)
    );
    assert_eq!(
        launcher.start(order_of(&old)).await.unwrap_err().reason,
        "ATTEMPT_REPLAYED"
    );

    let mut line = old.dial(&bench).await;
    old.chunk(None);
    line.write_all(b"C").await.unwrap();
    wait_for("the new chunk", || (launcher.known()[0].next_seq == 2).then_some(())).await;
    assert_eq!(launcher.read(old.id, 1).unwrap().unwrap().first_seq, 1);

    launcher.cancel(old.id);
    assert_eq!(line.read_u8().await.unwrap(), b'K');
    launcher.acknowledged(old.id, 2);
    assert_eq!(line.read_u8().await.unwrap(), b'A');
    assert_eq!(line.read_u64_le().await.unwrap(), 2);

    old.chunk(Some(succeeded()));
    let ended = [&[3][..], &succeeded().encode_to_vec()].concat();
    old.record(&ended);
    line.write_all(b"E").await.unwrap();
    assert_eq!(bench.outcome(old.id).await, succeeded());
    assert_eq!(bench.launcher().known()[0].next_seq, 3);
}

/// A runner whose spool broke recorded the end and could not write its last chunk.
#[tokio::test]
async fn an_end_that_is_recorded_and_in_no_chunk_is_told_without_a_restart() {
    let mut bench = Bench::new();
    bench.launcher = None;
    let mut old = Old::new(&bench);
    bench.restart();
    let mut line = old.dial(&bench).await;
    let ended = [&[3][..], &succeeded().encode_to_vec()].concat();
    old.record(&ended);
    line.write_all(b"E").await.unwrap();
    wait_for("the word", || {
        (bench.launcher().known()[0].phase == Phase::Ended).then_some(())
    })
    .await;
    // It exits.
    drop((line, old.state));
    let end = wait_for("the end", || bench.launcher().read(old.id, 1).unwrap()).await;
    assert_eq!(end.outcome, Some(succeeded()));
}

fn order_of(old: &Old) -> opslink_agent::launch::Order {
    opslink_agent::launch::Order {
        id: old.id,
        ..order("true")
    }
}
