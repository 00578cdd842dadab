//! Somebody who watches the first task, from wherever the last stream ended, and keeps every chunk that comes.

use std::{sync::atomic::Ordering, time::Duration};

use opslink::{
    chunk,
    pb::{self, task_service_client::TaskServiceClient},
};
use tokio::time::{sleep, timeout};

use crate::{
    api::{PAUSE, is_passing, reason_of},
    plan::Deed,
    record::Word,
    shared::Shared,
};

/// Watches until the task's end.
pub(crate) async fn watch(shared: Shared) -> turmoil::Result {
    let task_id = loop {
        if let Some(id) = shared.first_task.lock().unwrap().clone() {
            break id;
        }
        let refused = |word: &Word| matches!(word, Word::Refused(_));
        if shared
            .record
            .answers(Deed::Create(0))
            .iter()
            .any(|answer| refused(&answer.word))
        {
            panic!("the first task was refused");
        }
        sleep(Duration::from_millis(20)).await;
    };
    let mut api = shared.api("watcher");
    loop {
        let position = |(attempt_id, chunks): (&String, &Vec<pb::LogChunk>)| pb::AttemptPosition {
            attempt_id: attempt_id.clone(),
            next_seq: chunks.last().map_or(0, chunk::next_seq),
        };
        let positions = shared.watched.lock().unwrap().iter().map(position).collect();
        let request = pb::WatchTaskRequest {
            task_id: task_id.clone(),
            output: pb::OutputMode::Chunks.into(),
            positions,
            ..Default::default()
        };
        let opened = api
            .call(&request, async |channel, request| {
                TaskServiceClient::new(channel).watch_task(request).await
            })
            .await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(status) => return refused(&shared, &reason_of(&status)),
        };
        shared.trace("the watcher watches");
        loop {
            // A heartbeat comes every 15 s.
            match timeout(Duration::from_secs(35), stream.message()).await {
                Ok(Ok(Some(pb::WatchTaskResponse { event: Some(event) }))) => {
                    if let pb::watch_task_response::Event::Chunk(chunk) = event {
                        saw(&shared, chunk);
                    }
                }
                Ok(Ok(Some(pb::WatchTaskResponse { event: None }))) => panic!("an event without content"),
                Ok(Ok(None)) => {
                    shared.trace("the watcher saw the end");
                    shared.watched_to_the_end.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Err(status)) if is_passing(&status) => break,
                Ok(Err(status)) => return refused(&shared, &reason_of(&status)),
                Err(_) => break,
            }
        }
        api.hang_up();
        sleep(PAUSE).await;
    }
}

fn saw(shared: &Shared, chunk: pb::LogChunk) {
    let mut watched = shared.watched.lock().unwrap();
    let chunks = watched.entry(chunk.attempt_id.clone()).or_default();
    let next_seq = chunks.last().map_or(0, chunk::next_seq);
    assert_eq!(chunk.first_seq, next_seq, "the watcher saw a gap or a repetition");
    chunks.push(chunk);
}

/// Only a database that went back in time may have forgotten the task.
fn refused(shared: &Shared, reason: &str) -> turmoil::Result {
    assert!(
        shared.plan.failover.is_some(),
        "the cloud refused the watcher: {reason}"
    );
    shared.trace(format_args!("the watcher was refused: {reason}"));
    Ok(())
}
