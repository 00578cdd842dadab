//! Out and back: create, run, end; refusals of bad requests; cancel; what a foreign agent may not do.

use ExecutionState as S;
use futures::StreamExt;
use opslink::{
    pb,
    pb::{ExecutionState as P, attach_request::Frame as Up},
    reason::Reason,
    task::ExecutionState,
};

use super::bench::{Agent, Bench, caller, on, report, script, soon};
use crate::task::Config;

#[tokio::test]
async fn a_task_goes_out_and_its_output_and_end_come_back() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let created = bench.create_on(&["web"]).await;
    assert_eq!(created.executions[0].state(), P::Dispatched);
    let task = created.task.unwrap().id;
    let attempt = agent.task().await;
    assert_eq!(created.executions[0].attempt_id, attempt.to_string());
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    agent.finish(attempt, &["one\n", "two\n"], S::Succeeded).await;
    assert_eq!(agent.archived(attempt).await, 3);
    let view = bench.engine.get(&task).await.unwrap();
    assert_eq!(view.state(), pb::TaskState::Succeeded);
    assert!(view.finished_at.is_some());
    assert_eq!(bench.store.chunk_next_seq(&[attempt]).await.unwrap(), [3]);
}

#[tokio::test]
async fn output_is_verified_on_the_way_in_when_small_and_later_when_not() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    for texts in [&[][..], &["one\n", "two\n"][..]] {
        let task = bench.create_on(&["web"]).await.task.unwrap().id;
        let attempt = agent.task().await;
        agent.finish(attempt, texts, S::Succeeded).await;
        bench.until(&task, &[P::Succeeded]).await;
        let verified = async {
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
        soon("the comparison", verified).await;
    }
}

#[tokio::test]
async fn output_that_differs_from_its_digest_stays_unverified() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let mut chunks = script(attempt, &[], S::Succeeded);
    chunks[0].outcome.as_mut().unwrap().streams[0].bytes = 7;
    agent.send(Up::Chunk(chunks.remove(0))).await;
    bench.until(&task, &[P::Succeeded]).await;
    // A second attempt that goes through the comparison after it: the first one is through by then.
    let other = bench.create_on(&["web"]).await.task.unwrap().id;
    let after = agent.task().await;
    agent.finish(after, &["x", "y"], S::Succeeded).await;
    bench.until(&other, &[P::Succeeded]).await;
    let verified = async {
        while !bench
            .store
            .execution_by_attempt(after)
            .await
            .unwrap()
            .unwrap()
            .output_verified
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    soon("the comparison", verified).await;
    assert!(
        !bench
            .store
            .execution_by_attempt(attempt)
            .await
            .unwrap()
            .unwrap()
            .output_verified
    );
}

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_first_task() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let request = pb::CreateTaskRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..on(&["web"])
    };
    let first = bench.create(request.clone()).await.unwrap().task.unwrap().id;
    let again = bench.create(request.clone()).await.unwrap();
    assert_eq!(again.task.unwrap().id, first);
    assert_eq!(again.executions.len(), 1);
    let other = pb::CreateTaskRequest {
        reason: "another body".into(),
        ..request.clone()
    };
    assert_eq!(bench.create(other).await.unwrap_err().reason, Reason::RequestIdReused);
    // A cloud that was restarted knows it from the store.
    agent.task().await;
    let restarted = Bench::over(bench.store.clone(), Config::default()).await;
    let again = restarted
        .create(request.clone())
        .await
        .expect("its agent is away by now");
    assert_eq!(again.task.unwrap().id, first);
    let _agent = restarted.attach(agent.id, Vec::new()).await;
    assert_eq!(restarted.create(request).await.unwrap().task.unwrap().id, first);
}

#[tokio::test]
async fn targets_that_cannot_be_reached_are_named() {
    let bench = Bench::new().await;
    bench.join("away").await;
    let reason = async |request| bench.create(request).await.unwrap_err().reason;
    assert_eq!(reason(on(&[])).await, Reason::SelectorEmpty);
    assert_eq!(reason(on(&["nobody"])).await, Reason::AgentNotFound);
    assert_eq!(reason(on(&["web-*"])).await, Reason::SelectorNoMatch);
    let offline = bench.create(on(&["away"])).await.unwrap_err();
    assert_eq!(offline.reason, Reason::AgentOffline);
    assert_eq!(offline.args["agents"], "away");
    let expression = pb::Selector {
        expression: "env=".into(),
        ..Default::default()
    };
    let bad = pb::CreateTaskRequest {
        selector: Some(expression),
        ..on(&[])
    };
    assert!(matches!(
        reason(bad).await,
        Reason::SelectorSyntax | Reason::SelectorNoMatch
    ));
    let _here = bench.joined("here").await;
    let sql = pb::SqlSpec {
        script: "select 1".into(),
        ..Default::default()
    };
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Sql(sql)),
        ..Default::default()
    };
    assert_eq!(
        reason(pb::CreateTaskRequest {
            spec: Some(spec),
            ..on(&["here"])
        })
        .await,
        Reason::ExecutorAbsent
    );
}

#[tokio::test]
async fn a_dry_run_resolves_and_stores_nothing() {
    let bench = Bench::new().await;
    let _agent = bench.joined("web").await;
    let answer = bench
        .create(pb::CreateTaskRequest {
            dry_run: true,
            ..on(&["web"])
        })
        .await
        .unwrap();
    assert!(answer.task.unwrap().id.is_empty());
    assert_eq!(answer.executions[0].agent_name, "web");
    assert!(
        bench
            .engine
            .list(pb::ListTasksRequest::default())
            .await
            .unwrap()
            .tasks
            .is_empty()
    );
}

#[tokio::test]
async fn a_queued_task_is_canceled_without_being_sent() {
    let bench = Bench::new().await;
    let away = bench.join("away").await;
    let queueing = Some(pb::Queueing {
        enabled: true,
        ttl_secs: 0,
    });
    let created = bench
        .create(pb::CreateTaskRequest {
            queueing,
            ..on(&["away"])
        })
        .await
        .unwrap();
    assert_eq!(created.executions[0].state(), P::Queued);
    let id = created.task.unwrap().id;
    let request = pb::CancelTaskRequest {
        id: id.clone(),
        ..Default::default()
    };
    let task = bench.engine.cancel(&caller(), request.clone()).await.unwrap();
    assert_eq!((task.state(), task.cancel_requested), (pb::TaskState::Canceled, true));
    bench.engine.cancel(&caller(), request).await.unwrap();
    // Whatever the agent gets first is not the canceled task.
    let mut agent = bench.attach(away, Vec::new()).await;
    let next = bench.create_on(&["away"]).await;
    assert_eq!(agent.task().await.to_string(), next.executions[0].attempt_id);
}

#[tokio::test]
async fn a_running_task_is_told_to_end_and_ends_when_the_agent_says_so() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&id, &[P::Running]).await;
    let request = pb::CancelTaskRequest {
        id: id.clone(),
        ..Default::default()
    };
    let task = bench.engine.cancel(&caller(), request).await.unwrap();
    assert_eq!(task.state(), pb::TaskState::Running);
    assert_eq!(agent.cancel().await, attempt);
    agent.finish(attempt, &["bye\n"], S::Canceled).await;
    bench.until(&id, &[P::Canceled]).await;
}

#[tokio::test]
async fn a_queued_task_goes_out_when_its_agent_comes() {
    let bench = Bench::new().await;
    let away = bench.join("away").await;
    let queueing = Some(pb::Queueing {
        enabled: true,
        ttl_secs: 60,
    });
    let created = bench
        .create(pb::CreateTaskRequest {
            queueing,
            ..on(&["away"])
        })
        .await
        .unwrap();
    let mut agent = bench.attach(away, Vec::new()).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&created.task.unwrap().id, &[P::Succeeded]).await;
}

#[tokio::test]
async fn a_refused_task_is_refused_and_frees_its_slot() {
    let bench = Bench::with(Config {
        slots_per_agent: 1,
        ..Config::default()
    })
    .await;
    let mut agent = bench.joined("web").await;
    let first = bench.create_on(&["web"]).await.task.unwrap().id;
    let second = bench.create_on(&["web"]).await;
    assert_eq!(second.executions[0].state(), P::Queued);
    let attempt = agent.task().await;
    let (reason, message) = ("POLICY_DENIED".into(), "no".into());
    agent
        .send(Up::Refused(pb::Refused {
            attempt_id: attempt.to_string(),
            reason,
            message,
        }))
        .await;
    bench.until(&first, &[P::Refused]).await;
    let next = agent.task().await;
    assert_ne!(next, attempt);
    bench.until(&second.task.unwrap().id, &[P::Dispatched]).await;
}

#[tokio::test]
async fn another_agents_attempt_is_out_of_reach_in_every_frame() {
    let bench = Bench::new().await;
    let mut owner = bench.joined("owner").await;
    let id = bench.create_on(&["owner"]).await.task.unwrap().id;
    let attempt = owner.task().await;
    let thief = bench.join("thief").await;
    let name = attempt.to_string();
    let accepted = pb::Accepted {
        attempt_id: name.clone(),
        phase: 2,
    };
    let refused = pb::Refused {
        attempt_id: name,
        reason: "X".into(),
        message: String::new(),
    };
    let chunk = script(attempt, &["evil\n"], S::Failed).remove(0);
    for frame in [Up::Accepted(accepted), Up::Refused(refused), Up::Chunk(chunk)] {
        let mut link = bench.attach(thief, Vec::new()).await;
        link.send(frame).await;
        assert_eq!(link.end_of_link().await.unwrap().reason, Reason::PermissionDenied);
    }
    // In a Hello it learns what it would learn about an attempt that nobody has.
    let link = bench
        .attach(thief, vec![report(attempt, pb::AttemptPhase::Running, 5)])
        .await;
    let wanted = &link.welcome.attempts[0];
    assert!(wanted.archived && wanted.cancel && wanted.next_seq == 5);
    assert_eq!(bench.states(&id).await, [P::Dispatched]);
    assert_eq!(bench.store.chunk_next_seq(&[attempt]).await.unwrap(), [0]);
    owner.finish(attempt, &["good\n"], S::Succeeded).await;
    bench.until(&id, &[P::Succeeded]).await;
}

#[tokio::test]
async fn an_agent_that_sends_its_last_chunk_without_end_is_sent_away() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    bench.create_on(&["web"]).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &["one\n", "two\n"], S::Succeeded).await;
    agent.archived(attempt).await;
    let last = script(attempt, &["one\n", "two\n"], S::Succeeded).pop().unwrap();
    let (dialing, up) = Agent::dial(&bench.engine.links, agent.id, Vec::new());
    let mut down = dialing.await.unwrap();
    let flood = tokio::spawn(async move {
        let frame = Some(Up::Chunk(last));
        let mut sent = 0;
        while up.send(Ok(pb::AttachRequest { frame: frame.clone() })).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let end = async {
        loop {
            if let Err(why) = down.next().await.unwrap() {
                return why;
            }
        }
    };
    assert_eq!(soon("the end of the link", end).await.reason, Reason::FrameUnexpected);
    assert!(flood.await.unwrap() > 16_384);
}
