//! What tests of the runner and of executors share: a spool in memory, and an envelope.

use std::{io, sync::Mutex, time::Duration};

use opslink::{
    chunk,
    event::{Event, EventBody, Stream},
    id::{AgentId, AttemptId, TaskId},
    pb,
    task::{Action, TaskSpec},
};
use tokio::time::Instant;

use super::Spool;

/// Keeps chunks in memory, with the moment each came.
#[derive(Default)]
pub(crate) struct MemorySpool {
    chunks: Mutex<Vec<(Option<Instant>, pb::LogChunk)>>,
}

impl MemorySpool {
    pub(crate) fn chunks(&self) -> Vec<pb::LogChunk> {
        self.chunks
            .lock()
            .unwrap()
            .iter()
            .map(|(_, chunk)| chunk.clone())
            .collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        self.chunks
            .lock()
            .unwrap()
            .iter()
            .filter_map(|(time, _)| *time)
            .collect()
    }

    /// Decodes everything, checking that the chunks are contiguous.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for chunk in self.chunks() {
            assert_eq!(chunk.first_seq, events.len() as u64, "chunks are contiguous");
            events.extend(chunk::decode(&chunk).unwrap());
        }
        events
    }

    pub(crate) fn bytes(&self, wanted: Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in self.events() {
            if let EventBody::Output { stream, data } = event.body
                && stream == wanted
            {
                bytes.extend_from_slice(&data);
            }
        }
        bytes
    }

    pub(crate) fn note_reasons(&self) -> Vec<String> {
        let note = |event: Event| match event.body {
            EventBody::Note(note) => Some(note.reason),
            _ => None,
        };
        self.events().into_iter().filter_map(note).collect()
    }
}

impl Spool for MemorySpool {
    fn append(&self, chunk: pb::LogChunk) -> io::Result<()> {
        let now = tokio::runtime::Handle::try_current().ok().map(|_| Instant::now());
        self.chunks.lock().unwrap().push((now, chunk));
        Ok(())
    }
}

/// Polls until the condition holds.
pub(crate) async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn envelope(action: Action, timeout: Duration) -> pb::TaskEnvelope {
    pb::TaskEnvelope {
        attempt_id: AttemptId::new().to_string(),
        task_id: TaskId::new().to_string(),
        agent_id: AgentId::new().to_string(),
        spec: Some(
            TaskSpec {
                action,
                timeout,
                grace: Duration::from_secs(1),
            }
            .into(),
        ),
        ..Default::default()
    }
}
