//! Links that break: nothing twice, nothing forgotten, doubt is `lost`.

use std::time::Duration;

use ExecutionState as S;
use opslink::{
    id::{AgentId, AttemptId},
    pb,
    pb::{AttemptPhase, ExecutionState as P, attach_request::Frame as Up, attach_response::Frame as Down},
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    bench::{Bench, caller, report, script, soon},
    trouble::rewrite,
};
use crate::task::Config;

#[tokio::test]
async fn a_task_that_never_arrived_is_sent_again_under_the_same_attempt() {
    let bench = Bench::new().await;
    let agent = bench.joined("web").await;
    let created = bench.create_on(&["web"]).await;
    let id = agent.id;
    drop(agent);
    let mut agent = bench.attach(id, Vec::new()).await;
    let attempt = agent.task().await;
    assert_eq!(attempt.to_string(), created.executions[0].attempt_id);
    agent.finish(attempt, &["x"], S::Succeeded).await;
    bench.until(&created.task.unwrap().id, &[P::Succeeded]).await;
    assert_eq!(
        bench
            .store
            .execution_by_attempt(attempt)
            .await
            .unwrap()
            .unwrap()
            .attempt_number,
        1
    );
}

#[tokio::test]
async fn a_running_attempt_that_the_agent_forgot_is_lost_and_its_slot_is_free() {
    let bench = Bench::with(Config {
        slots_per_agent: 1,
        ..Config::default()
    })
    .await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    let id = agent.id;
    drop(agent);
    let mut agent = bench.attach(id, Vec::new()).await;
    bench.until(&task, &[P::Lost]).await;
    let next = bench.create_on(&["web"]).await;
    assert_eq!(agent.task().await.to_string(), next.executions[0].attempt_id);
}

#[tokio::test]
async fn output_goes_on_where_the_cloud_has_it_and_repetitions_are_not_stored() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let chunks = script(attempt, &["one\n", "two\n", "three\n"], S::Succeeded);
    agent.accept(attempt).await;
    agent.send(Up::Chunk(chunks[0].clone())).await;
    loop {
        if let Down::Ack(ack) = agent.next().await.unwrap() {
            assert_eq!((ack.next_seq, ack.archived), (1, false));
            break;
        }
    }
    let id = agent.id;
    drop(agent);
    let mut agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 2)]).await;
    let wanted = &agent.welcome.attempts[0];
    assert_eq!((wanted.next_seq, wanted.archived, wanted.cancel), (1, false, false));
    for chunk in &chunks {
        agent.send(Up::Chunk(chunk.clone())).await;
    }
    assert_eq!(agent.archived(attempt).await, 4);
    bench.until(&task, &[P::Succeeded]).await;
    assert_eq!(bench.store.chunk_index(attempt, 0, 100).await.unwrap().len(), 4);
}

#[tokio::test]
async fn the_slot_of_what_the_store_no_longer_has_at_work_is_free_when_its_agent_comes_back() {
    let config = Config {
        slots_per_agent: 1,
        // No timer helps.
        reconcile_every: Duration::from_secs(3_600),
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    // As a database that went back in time may have it.
    rewrite(&bench, &task, |execution| {
        execution.state = S::Failed;
        execution.finished_at = Some(UnixMicros::now());
    })
    .await;
    let id = agent.id;
    drop(agent);
    bench.until_offline(id).await;
    let mut agent = bench.attach(id, Vec::new()).await;
    bench.create_on(&["web"]).await;
    agent.task().await;
}

#[tokio::test]
async fn a_gap_closes_the_link_and_the_next_one_says_what_is_wanted() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    let chunks = script(attempt, &["one\n", "two\n"], S::Succeeded);
    agent.send(Up::Chunk(chunks[0].clone())).await;
    agent.send(Up::Chunk(chunks[2].clone())).await;
    assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::ChunkInvalid);
    let agent = bench
        .attach(agent.id, vec![report(attempt, AttemptPhase::Ended, 3)])
        .await;
    assert_eq!(agent.welcome.attempts[0].next_seq, 1);
    assert!(!agent.welcome.attempts[0].archived);
}

#[tokio::test]
async fn a_chunk_that_is_refused_each_time_ends_its_attempt_and_its_agent_goes_on() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    let mut chunks = script(attempt, &["one\n"], S::Succeeded);
    // An end that only a newer cloud knows.
    chunks[1].outcome.as_mut().unwrap().kind = 99;
    agent.send(Up::Chunk(chunks[0].clone())).await;
    for _ in 0..3 {
        assert!(agent.welcome.attempts.iter().all(|wanted| !wanted.archived));
        agent.send(Up::Chunk(chunks[1].clone())).await;
        assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::ChunkInvalid);
        agent = bench
            .attach(agent.id, vec![report(attempt, AttemptPhase::Ended, 2)])
            .await;
    }
    let wanted = &agent.welcome.attempts[0];
    assert_eq!(
        (wanted.next_seq, wanted.archived),
        (2, true),
        "nothing more of it is wanted"
    );
    bench.until(&task, &[P::Lost]).await;
    let next = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.finish(attempt, &["two\n"], S::Succeeded).await;
    bench.until(&next, &[P::Succeeded]).await;
}

/// An agent with an attempt that runs, a cloud that stored all of its output, with its end, and went down before it wrote
/// that it had ended, and the next cloud.
async fn stored_and_not_ended() -> (Bench, AgentId, String, AttemptId) {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    let (store, id) = (bench.store.clone(), agent.id);
    drop((agent, bench));
    for chunk in script(attempt, &["one\n"], S::Failed) {
        let row = crate::store::record::Chunk {
            attempt_id: attempt,
            first_seq: chunk.first_seq,
            event_count: chunk.event_count,
            first_line: chunk.first_line,
            line_count: chunk.line_count,
            raw_size: chunk.raw_size,
            first_time: UnixMicros(chunk.first_time_us),
            last_time: UnixMicros(chunk.last_time_us),
            codec: chunk.codec,
            payload: chunk.payload,
            outcome: chunk.outcome.map(|outcome| outcome.try_into().unwrap()),
        };
        assert!(store.chunk_append(vec![row]).await.unwrap()[0].stored);
    }
    (Bench::over(store, Config::default()).await, id, task, attempt)
}

#[tokio::test]
async fn an_end_that_was_stored_before_the_cloud_went_down_is_found_by_the_next_cloud() {
    let (bench, id, task, attempt) = stored_and_not_ended().await;
    let mut agent = bench.attach(id, vec![report(attempt, AttemptPhase::Ended, 2)]).await;
    assert_eq!(agent.archived(attempt).await, 2);
    bench.until(&task, &[P::Failed]).await;
    // The next time everything is known to be there.
    drop(agent);
    let agent = bench.attach(id, vec![report(attempt, AttemptPhase::Ended, 2)]).await;
    assert!(agent.welcome.attempts[0].archived && !agent.welcome.attempts[0].cancel);
}

/// Its runner stands before its last word (a full disk), or has not dialed an agent that is new: there is nothing more that
/// would be sent.
#[tokio::test]
async fn the_stored_end_of_what_still_seems_to_run_is_found_by_the_next_cloud() {
    let (bench, id, task, attempt) = stored_and_not_ended().await;
    let mut agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 2)]).await;
    let wanted = &agent.welcome.attempts[0];
    assert_eq!((wanted.next_seq, wanted.archived, wanted.cancel), (2, false, false));
    assert_eq!(agent.archived(attempt).await, 2);
    bench.until(&task, &[P::Failed]).await;
}

#[tokio::test]
async fn output_that_a_former_cloud_did_not_compare_is_compared_by_the_next_one() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.finish(attempt, &["one\n", "two\n"], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded]).await;
    // As if the process had ended between the end, which brings a row of work, and the comparison.
    let store = bench.store.clone();
    drop(agent);
    bench.stop();
    let mut execution = store.execution_by_attempt(attempt).await.unwrap().unwrap();
    execution.output_verified = false;
    let before = (execution.state, execution.attempt_id);
    let write = crate::store::record::ExecutionWrite {
        before,
        after: execution,
        output: None,
    };
    store.execution_apply(vec![write], None).await.unwrap();
    let row = crate::work::row("verify", attempt, opslink::time::UnixMicros::now());
    store.work_add(vec![row]).await.unwrap();

    let bench = Bench::over(store, Config::default()).await;
    let compared = async {
        while !bench
            .store
            .execution_by_attempt(attempt)
            .await
            .unwrap()
            .unwrap()
            .output_verified
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    soon("the comparison", compared).await;
}

#[tokio::test]
async fn a_cancel_that_the_link_lost_is_in_the_next_welcome() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    let id = agent.id;
    drop(agent);
    bench
        .engine
        .cancel(
            &caller(),
            pb::CancelTaskRequest {
                id: task,
                ..Default::default()
            },
        )
        .await
        .unwrap();
    let agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 0)]).await;
    assert!(agent.welcome.attempts[0].cancel);
}

#[tokio::test]
async fn a_newer_link_takes_over_and_the_older_one_is_told() {
    let bench = Bench::new().await;
    let mut old = bench.joined("web").await;
    let mut new = bench.attach(old.id, Vec::new()).await;
    assert!(new.welcome.session_epoch > old.welcome.session_epoch);
    let Ok(Down::Drain(drain)) = old.next().await else {
        panic!("no drain")
    };
    assert_eq!(drain.reason, "LINK_SUPERSEDED");
    assert_eq!(old.end_of_link().await.unwrap().reason, Reason::LinkSuperseded);
    bench.create_on(&["web"]).await;
    new.task().await;
    assert!(bench.directory.find("web").unwrap().online);
}

#[tokio::test]
async fn a_removed_agent_loses_what_runs_and_its_link() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    bench
        .engine
        .remove_agent(agent.id, super::bench::audit())
        .await
        .unwrap();
    assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::CertificateRevoked);
    bench.until(&task, &[P::Lost]).await;
}

#[tokio::test]
async fn the_directory_follows_the_links() {
    let bench = Bench::new().await;
    let agent = bench.joined("web").await;
    assert!(bench.directory.find("web").unwrap().online);
    let mut changes = bench.directory.subscribe();
    let id = agent.id;
    drop(agent);
    assert_eq!(soon("the change", changes.recv()).await.unwrap(), id);
    assert!(!bench.directory.get(id).unwrap().online);
}

#[tokio::test]
async fn the_end_of_a_link_ends_its_lease() {
    let bench = Bench::new().await;
    let agent = bench.joined("web").await;
    let id = agent.id;
    let is_leased = async || {
        let presence = bench.store.presence_get(id).await.unwrap().unwrap();
        presence.lease_until > UnixMicros::now()
    };
    assert!(is_leased().await);
    drop(agent);
    let ended = async {
        while is_leased().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the end of the lease", ended).await;
    let _agent = bench.attach(id, Vec::new()).await;
    assert!(is_leased().await);
}
