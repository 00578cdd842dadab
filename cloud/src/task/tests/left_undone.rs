//! Whatever a death, a lost answer or a caller that went away left undone is done.

use std::{sync::atomic::Ordering, time::Duration};

use ExecutionState as S;
use opslink::{
    id::TaskId,
    pb,
    pb::{AttemptPhase, ExecutionState as P},
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    bench::{Bench, audit, caller, on, refused, report, soon},
    trouble::{Trouble, quick, rewrite, store_queued},
};
use crate::task::{Config, info::TaskInfo};

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_along() {
    let (trouble, store) = Trouble::new();
    let bench = Bench::over(store, Config::default()).await;
    let mut agent = bench.joined("web").await;
    trouble.hold();
    let engine = bench.engine.clone();
    let create = tokio::spawn(async move { engine.create(&caller(), on(&["web"])).await });
    trouble.until_held().await;
    create.abort();
    assert!(create.await.unwrap_err().is_cancelled());
    trouble.open.send_replace(true);
    // It was committed, so it is sent.
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    assert_eq!(agent.archived(attempt).await, 1);
}

#[tokio::test]
async fn an_agent_is_removed_to_the_end_although_the_caller_went_away() {
    let (trouble, store) = Trouble::new();
    let bench = Bench::over(store, Config::default()).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    trouble.hold();
    let (engine, id) = (bench.engine.clone(), agent.id);
    let remove = tokio::spawn(async move { engine.remove_agent(id, audit()).await });
    trouble.until_held().await;
    remove.abort();
    assert!(remove.await.unwrap_err().is_cancelled());
    trouble.open.send_replace(true);
    assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::CertificateRevoked);
    bench.until(&task, &[P::Lost]).await;
    assert!(bench.directory.get(id).is_none());
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_is_there_and_is_sent() {
    let (trouble, store) = Trouble::new();
    let bench = Bench::over(store, Config::default()).await;
    let mut agent = bench.joined("web").await;
    trouble.lose.store(1, Ordering::SeqCst);
    let created = bench.create_on(&["web"]).await;
    assert_eq!(agent.task().await.to_string(), created.executions[0].attempt_id);
}

/// Its commit may come to its end later than whoever waits for it: a look for the task finds nothing then.
#[tokio::test]
async fn a_task_of_which_nothing_is_heard_is_looked_for_at_its_agents_although_it_is_not_there() {
    let (trouble, store) = Trouble::new();
    // No timer looks.
    let config = Config {
        reconcile_every: Duration::from_secs(3_600),
        ..Config::default()
    };
    let bench = Bench::over(store, config).await;
    let agent = bench.joined("web").await;
    let book = &bench.engine.submit.commit.book;
    let looked = async {
        while book.neglected().contains(&agent.id) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the look that its coming makes necessary", looked).await;
    trouble.swallow.store(usize::MAX, Ordering::SeqCst);
    bench.create(on(&["web"])).await.unwrap_err();
    trouble.swallow.store(0, Ordering::SeqCst);
    assert_eq!(book.neglected(), [agent.id]);
}

#[tokio::test]
async fn a_dispatch_whose_answer_was_lost_is_sent_and_its_slot_comes_back() {
    let (trouble, store) = Trouble::new();
    let config = Config {
        slots_per_agent: 1,
        ..quick()
    };
    let bench = Bench::over(store, config).await;
    let mut agent = bench.joined("web").await;
    let first = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    let second = bench.create_on(&["web"]).await.task.unwrap().id;
    let third = bench.create_on(&["web"]).await.task.unwrap().id;
    bench.until(&second, &[P::Queued]).await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&first, &[P::Succeeded]).await;
    // Whichever commit comes next loses its answer: the dispatch of the second, or what ends it.
    trouble.lose.store(1, Ordering::SeqCst);
    for task in [second, third] {
        let attempt = agent.task().await;
        agent.finish(attempt, &[], S::Succeeded).await;
        bench.until(&task, &[P::Succeeded]).await;
    }
}

#[tokio::test]
async fn what_was_handed_over_and_never_answered_is_lost_when_its_agent_stays_away() {
    let config = Config {
        answer_within: Duration::ZERO,
        ..quick()
    };
    let bench = Bench::with(config).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    let id = agent.id;
    drop(agent);
    bench.until_offline(id).await;
    assert_eq!(bench.states(&task).await, [P::Dispatched]);
    rewrite(&bench, &task, |execution| {
        execution.queue_deadline = Some(UnixMicros(1))
    })
    .await;
    bench.until(&task, &[P::Lost]).await;
}

#[tokio::test]
async fn a_wish_to_cancel_whose_answer_was_lost_twice_reaches_its_agent() {
    let (trouble, store) = Trouble::new();
    // No timer commits anything meanwhile: both answers that get lost are those of the wish.
    let bench = Bench::over(store, Config::default()).await;
    let mut agent = bench.joined("web").await;
    let id = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&id, &[P::Running]).await;
    trouble.lose.store(2, Ordering::SeqCst);
    let request = pb::CancelTaskRequest {
        id,
        ..Default::default()
    };
    bench.engine.cancel(&caller(), request).await.unwrap_err();
    assert_eq!(agent.cancel().await, attempt);
}

#[tokio::test]
async fn what_runs_while_the_cloud_is_away_is_not_given_up_before_its_agent_could_come_back() {
    let bench = Bench::with(quick()).await;
    let mut agent = bench.joined("web").await;
    let running = bench.create_on(&["web"]).await.task.unwrap().id;
    let accepted = agent.task().await;
    agent.accept(accepted).await;
    bench.until(&running, &[P::Running]).await;
    let handed_over = bench.create_on(&["web"]).await.task.unwrap().id;
    let ended = agent.task().await;
    let (store, id) = (bench.store.clone(), agent.id);
    drop(agent);
    rewrite(&bench, &handed_over, |execution| {
        execution.queue_deadline = Some(UnixMicros(1))
    })
    .await;
    // What waited for the cloud that is back is looked at, before any agent can have dialed it.
    let away = bench.join("away").await;
    let waiting = store_queued(&bench, away, Some(UnixMicros(1))).await;
    bench.stop();
    let config = Config {
        lost_after: Duration::ZERO,
        answer_within: Duration::ZERO,
        return_within: Duration::from_secs(300),
        ..quick()
    };
    let bench = Bench::over(store, config).await;
    bench.until(&waiting, &[P::Expired]).await;
    let reports = vec![
        report(accepted, AttemptPhase::Running, 0),
        report(ended, AttemptPhase::Ended, 1),
    ];
    let agent = bench.attach(id, reports).await;
    assert!(agent.welcome.attempts.iter().all(|wanted| !wanted.cancel));
    assert_eq!(bench.states(&running).await, [P::Running]);
}

#[tokio::test]
async fn an_agent_that_is_here_and_does_not_answer_is_asked_anew() {
    let bench = Bench::with(quick()).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    bench.engine.backdate(attempt);
    rewrite(&bench, &task, |execution| {
        execution.queue_deadline = Some(UnixMicros(1))
    })
    .await;
    assert_eq!(agent.end_of_link().await.unwrap().reason, Reason::AttemptForgotten);
    // It is asked with the task itself, so late that it cannot start it any more.
    let mut agent = bench.attach(agent.id, Vec::new()).await;
    assert_eq!(agent.task().await, attempt);
    agent.send(refused(attempt, "QUEUE_EXPIRED")).await;
    bench.until(&task, &[P::Expired]).await;
}

#[tokio::test]
async fn what_runs_on_a_machine_that_never_comes_back_is_lost_one_day() {
    let config = Config {
        lost_after: Duration::ZERO,
        ..quick()
    };
    let bench = Bench::with(config).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    let id = agent.id;
    drop(agent);
    bench.until(&task, &[P::Lost]).await;
    // It comes back after all: its work is not wanted any more, and the end stays.
    let agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 0)]).await;
    assert!(agent.welcome.attempts[0].cancel);
    assert_eq!(bench.states(&task).await, [P::Lost]);
}

#[tokio::test]
async fn what_is_known_of_a_task_is_the_same_after_a_restart() {
    let bench = Bench::new().await;
    let _agent = bench.joined("web").await;
    for (enabled, ttl_secs) in [(false, 0), (false, 5), (true, 0), (true, 5)] {
        let request = pb::CreateTaskRequest {
            queueing: Some(pb::Queueing { enabled, ttl_secs }),
            ..on(&["web"])
        };
        let id = bench.create(request).await.unwrap().task.unwrap().id;
        let id: TaskId = id.parse().unwrap();
        let known = bench.engine.submit.commit.info(id).await.unwrap();
        let stored = bench.store.task_get(id).await.unwrap().unwrap();
        assert_eq!(*known, TaskInfo::read(&stored).unwrap());
    }
}
