//! Damaged output costs its attempt only: its agent comes back, and what else that has to say is heard.

use std::{path::Path, sync::Arc};

use ExecutionState as S;
use futures::StreamExt;
use opslink::{
    id::AttemptId,
    pb,
    pb::{
        AttemptPhase, ExecutionState as P, attach_request::Frame as Up, attach_response::Frame as Down,
        watch_task_response::Event as Sent,
    },
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

use super::bench::{Agent, Bench, caller, report, script, soon};
use crate::{
    store::{
        Store,
        record::{Chunk, ChunkStart},
        sql::{
            Options, SqlStore,
            damage::{CHUNK_DAMAGES, damage_chunk, run},
        },
    },
    tail::LiveChunk,
    task::{
        Config,
        heard::{self, Heard},
        intent::WholeOutput,
    },
};

const TEXTS: &[&str] = &["one\n", "two\n"];

async fn open(folder: &Path) -> Store {
    let url = format!("sqlite://{}", folder.display());
    SqlStore::open(&url, Options::default()).await.unwrap()
}

fn row(chunk: &pb::LogChunk) -> Chunk {
    Chunk {
        attempt_id: chunk.attempt_id.parse().unwrap(),
        first_seq: chunk.first_seq,
        event_count: chunk.event_count,
        first_line: chunk.first_line,
        line_count: chunk.line_count,
        raw_size: chunk.raw_size,
        first_time: UnixMicros(chunk.first_time_us),
        last_time: UnixMicros(chunk.last_time_us),
        codec: chunk.codec,
        payload: chunk.payload.clone(),
        outcome: chunk.outcome.clone().map(|outcome| Outcome::try_from(outcome).unwrap()),
    }
}

/// A task that runs on the agent.
async fn running(bench: &Bench, agent: &mut Agent) -> (String, AttemptId) {
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    (task, attempt)
}

fn wanted(agent: &Agent, attempt: AttemptId) -> pb::AttemptWanted {
    let mut all = agent.welcome.attempts.iter();
    let wanted = all.find(|wanted| wanted.attempt_id == attempt.to_string());
    wanted.expect("an answer about each attempt").clone()
}

/// Sends a chunk; true when the attempt is archived then, false when the link ends.
async fn is_archived_after(agent: &mut Agent, attempt: AttemptId, chunk: pb::LogChunk) -> bool {
    agent.send(Up::Chunk(chunk)).await;
    loop {
        match agent.next().await {
            Ok(Down::Ack(ack)) if ack.archived && ack.attempt_id == attempt.to_string() => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// All output is stored, and the cloud ended before it wrote the end; the last chunk is damaged. An agent whose stored
/// end cannot be read says it again, and what cannot be stored is lost.
#[tokio::test]
async fn a_damaged_chunk_does_not_lock_its_agent_out_and_its_attempt_ends() {
    for (what, end) in CHUNK_DAMAGES.iter().zip([P::Lost, P::Lost, P::Succeeded]) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        let former = Bench::over(store.clone(), Config::default()).await;
        let mut agent = former.joined("web").await;
        let (damaged_task, damaged) = running(&former, &mut agent).await;
        let (task, healthy) = running(&former, &mut agent).await;
        let id = agent.id;
        drop(agent);
        former.until_offline(id).await;
        former.stop();
        let chunks = script(damaged, TEXTS, S::Succeeded);
        let stored = store.chunk_append(chunks.iter().map(row).collect()).await.unwrap();
        assert!(stored.iter().all(|answer| answer.stored) && stored.len() == 3);
        damage_chunk(folder.path(), damaged, what).await;

        let bench = Bench::over(store, Config::default()).await;
        let ended = report(damaged, AttemptPhase::Ended, 3);
        let reports = vec![ended.clone(), report(healthy, AttemptPhase::Running, 0)];
        let mut agent = bench.attach(id, reports).await;
        assert!(
            !wanted(&agent, damaged).archived && !wanted(&agent, healthy).cancel,
            "{what}"
        );
        agent.finish(healthy, &["one\n"], S::Succeeded).await;
        assert_eq!(agent.archived(healthy).await, 2, "{what}");
        bench.until(&task, &[P::Succeeded]).await;

        let mut comings = 1;
        loop {
            let wanted = wanted(&agent, damaged);
            if wanted.archived {
                break;
            }
            let next = chunks.iter().find(|chunk| chunk.first_seq >= wanted.next_seq);
            let next = next.expect("it is asked for what ends it").clone();
            if is_archived_after(&mut agent, damaged, next).await {
                break;
            }
            comings += 1;
            assert!(comings <= 4, "{what}: it is asked again and again");
            agent = bench.attach(id, vec![ended.clone()]).await;
        }
        bench.until(&damaged_task, &[end]).await;
        bench.stop();
    }
}

#[tokio::test]
async fn what_runs_goes_on_until_what_it_says_next_was_refused_a_few_times() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let bench = Bench::over(store.clone(), Config::default()).await;
    let mut agent = bench.joined("web").await;
    let (task, attempt) = running(&bench, &mut agent).await;
    let chunks = script(attempt, TEXTS, S::Succeeded);
    store.chunk_append(chunks[..2].iter().map(row).collect()).await.unwrap();
    damage_chunk(folder.path(), attempt, "event_count = -1000000").await;
    let running = || vec![report(attempt, AttemptPhase::Running, 2)];
    for _ in 0..3 {
        agent = bench.attach(agent.id, running()).await;
        let wanted = wanted(&agent, attempt);
        assert_eq!((wanted.next_seq, wanted.archived, wanted.cancel), (2, false, false));
        assert!(!is_archived_after(&mut agent, attempt, chunks[2].clone()).await);
    }
    bench.until(&task, &[P::Lost]).await;
    let execution = store.execution_by_attempt(attempt).await.unwrap().unwrap();
    assert_eq!(execution.outcome.unwrap().reason, "CHUNK_INVALID");
    let agent = bench.attach(agent.id, running()).await;
    let wanted = wanted(&agent, attempt);
    assert!(wanted.archived && wanted.cancel, "nothing more of it is wanted");
}

#[tokio::test]
async fn output_of_an_older_attempt_that_the_store_does_not_take_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let bench = Bench::over(store.clone(), Config::default()).await;
    let mut agent = bench.joined("web").await;
    let (task, older) = running(&bench, &mut agent).await;
    agent.finish(older, &[], S::Failed).await;
    bench.until(&task, &[P::Failed]).await;
    let request = pb::RetryTaskRequest {
        id: task.clone(),
        ..Default::default()
    };
    bench.engine.retry(&caller(), request).await.unwrap();
    let newer = agent.task().await;
    agent.accept(newer).await;
    bench.until(&task, &[P::Running]).await;

    let row = store.chunk_read(older, ChunkStart::Seq(0), 1).await.unwrap().remove(0);
    let sql = format!(
        "UPDATE chunk SET event_count = -1000000 WHERE attempt_id = X'{}'",
        older.uuid().simple()
    );
    assert_eq!(run(folder.path(), &sql).await, 1, "small output is beside its end");
    let live = Arc::new(LiveChunk {
        agent_id: agent.id,
        attempt_id: older,
        chunk: script(older, &[], S::Failed).remove(0),
    });
    let outcome = row.outcome.clone().unwrap();
    let late = Heard::ended(agent.id, older, outcome, true, 1).with_output(WholeOutput { row, live });
    let started = Heard::accepted(agent.id, agent.welcome.session_epoch, newer, true);
    let (commit, links) = (&bench.engine.submit.commit, bench.engine.links());
    heard::apply(commit, links, &[late, started]).await.unwrap();
    agent.finish(newer, &[], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
}

#[tokio::test]
async fn damaged_output_of_one_agent_hides_no_other_from_a_watch() {
    for what in CHUNK_DAMAGES {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::over(open(folder.path()).await, Config::default()).await;
        let mut agents = [bench.joined("a").await, bench.joined("b").await];
        let task = bench.create_on(&["a", "b"]).await.task.unwrap().id;
        let mut attempts = Vec::new();
        for agent in &mut agents {
            let attempt = agent.task().await;
            agent.finish(attempt, TEXTS, S::Succeeded).await;
            agent.archived(attempt).await;
            attempts.push(attempt);
        }
        bench.until(&task, &[P::Succeeded, P::Succeeded]).await;
        damage_chunk(folder.path(), attempts[0], what).await;

        for output in [pb::OutputMode::Chunks, pb::OutputMode::Events] {
            let request = pb::WatchTaskRequest {
                task_id: task.clone(),
                output: output.into(),
                ..Default::default()
            };
            let mut messages = bench.engine.watch(request).await.unwrap().boxed();
            let (mut healthy, mut ends) = (0, 0);
            while let Some(message) = soon("the next message", messages.next()).await {
                match message.unwrap_or_else(|problem| panic!("{what}: {problem}")).event {
                    Some(Sent::Chunk(chunk)) if chunk.attempt_id == attempts[1].to_string() => healthy += 1,
                    Some(Sent::Events(events)) if events.attempt_id == attempts[1].to_string() => healthy += 1,
                    Some(Sent::Execution(execution)) if execution.state() == P::Succeeded => ends += 1,
                    _ => {}
                }
            }
            assert_eq!(healthy, 3, "{what}");
            assert!(ends >= 2, "{what}: both have ended");
        }
        bench.stop();
    }
}
