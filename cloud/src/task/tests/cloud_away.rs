//! What is not held against agents: time in which the cloud was down, or its store let nobody in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ExecutionState as S;
use async_trait::async_trait;
use opslink::{
    pb,
    pb::{AttemptPhase, ExecutionState as P},
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    bench::{Agent, Bench, on, report},
    trouble::{quick, rewrite, store_queued},
};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::Config,
};

/// Longer than a task may take that does not wait for agents.
const LONG_AGO: Duration = Duration::from_secs(90);

/// A store that answers nobody while this is set.
#[derive(Default)]
struct Away(AtomicBool);

impl Away {
    fn new() -> (Arc<Self>, Store) {
        let away = Arc::new(Self::default());
        let store = Store::from(MemoryStore::with_faults(away.clone()));
        (away, store)
    }

    fn set(&self, away: bool) {
        self.0.store(away, Ordering::SeqCst);
    }
}

#[async_trait]
impl Faults for Away {
    async fn at(&self, point: Point) -> Result<()> {
        if point != Point::AfterCommit && self.0.load(Ordering::SeqCst) {
            return Err(Error::unavailable("it is away"));
        }
        Ok(())
    }
}

/// Agents are given up at once, but for the time that they need to come.
fn waits_for_agents() -> Config {
    Config {
        lost_after: Duration::ZERO,
        answer_within: Duration::ZERO,
        return_within: Duration::from_secs(300),
        ..quick()
    }
}

#[tokio::test]
async fn what_waits_for_a_slot_outlives_the_absence_of_the_cloud() {
    let one_slot = || Config {
        slots_per_agent: 1,
        ..waits_for_agents()
    };
    let former = Bench::with(one_slot()).await;
    let mut agent = former.joined("web").await;
    let first = former.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    former.until(&first, &[P::Running]).await;
    let second = former.create_on(&["web"]).await.task.unwrap().id;
    former.until(&second, &[P::Queued]).await;
    let (store, id) = (former.store.clone(), agent.id);
    former.stop();
    drop(agent);

    let bench = Bench::over(store, one_slot()).await;
    bench.directory.backdate(id, LONG_AGO);
    let mut agent = bench.attach(id, vec![report(attempt, AttemptPhase::Running, 0)]).await;
    assert_eq!(bench.states(&second).await, [P::Queued]);
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&first, &[P::Succeeded]).await;
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Succeeded).await;
    bench.until(&second, &[P::Succeeded]).await;
}

#[tokio::test]
async fn a_rollout_goes_on_over_the_absence_of_the_cloud() {
    let former = Bench::with(waits_for_agents()).await;
    let (mut a, b) = (former.joined("a").await, former.joined("b").await);
    let request = pb::CreateTaskRequest {
        rollout: Some(pb::Rollout {
            max_parallel: 1,
            max_failures: 1,
        }),
        ..on(&["a", "b"])
    };
    let task = former.create(request).await.unwrap().task.unwrap().id;
    let attempt = a.task().await;
    a.accept(attempt).await;
    former.until(&task, &[P::Running, P::Held]).await;
    let (store, first, second) = (former.store.clone(), a.id, b.id);
    former.stop();
    drop((a, b));

    let bench = Bench::over(store, waits_for_agents()).await;
    let reports = vec![report(attempt, AttemptPhase::Running, 0)];
    let a = bench.attach(first, reports).await;
    a.finish(attempt, &[], S::Succeeded).await;
    // Its turn comes before it has dialed the cloud that is back.
    bench.until(&task, &[P::Succeeded, P::Queued]).await;
    bench.directory.backdate(second, LONG_AGO);
    let mut b = bench.attach(second, Vec::new()).await;
    let attempt = b.task().await;
    b.finish(attempt, &[], S::Succeeded).await;
    bench.until(&task, &[P::Succeeded, P::Succeeded]).await;
}

#[tokio::test]
async fn what_runs_while_the_store_is_away_is_not_given_up_before_its_agent_could_come_back() {
    let (away, store) = Away::new();
    let bench = Bench::over(store, waits_for_agents()).await;
    // This cloud has been up for long.
    bench.engine.submit.presence.reachable().backdate();
    let other = bench.join("other").await;
    let mut agent = bench.joined("web").await;
    let running = bench.create_on(&["web"]).await.task.unwrap().id;
    let accepted = agent.task().await;
    agent.accept(accepted).await;
    bench.until(&running, &[P::Running]).await;
    let handed_over = bench.create_on(&["web"]).await.task.unwrap().id;
    let sent = agent.task().await;
    rewrite(&bench, &handed_over, |execution| {
        execution.queue_deadline = Some(UnixMicros(1))
    })
    .await;
    let reports = || {
        [accepted, sent]
            .map(|attempt| report(attempt, AttemptPhase::Running, 0))
            .to_vec()
    };

    away.set(true);
    let id = agent.id;
    drop(agent);
    bench.until_offline(id).await;
    assert!(Agent::attach(&bench.engine, id, reports()).await.is_err());
    away.set(false);
    // The second waits for a look that begins after the first one's.
    for _ in 0..2 {
        let waiting = store_queued(&bench, other, Some(UnixMicros(1))).await;
        bench.until(&waiting, &[P::Expired]).await;
    }
    let agent = bench.attach(id, reports()).await;
    assert!(agent.welcome.attempts.iter().all(|wanted| !wanted.cancel));
    for task in [running, handed_over] {
        bench.until(&task, &[P::Running]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn agents_have_their_time_again_when_no_sign_of_life_was_stored() {
    let (away, store) = Away::new();
    let bench = Bench::over(store, Config::default()).await;
    let mut agent = bench.joined("web").await;
    let task = bench.create_on(&["web"]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    let reachable = bench.engine.submit.presence.reachable();
    reachable.backdate();
    assert!(reachable.all_could_come());
    away.set(true);
    // Signs of life are written more often than that.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(!reachable.all_could_come());
}

#[tokio::test(start_paused = true)]
async fn agents_have_their_time_again_when_the_store_let_nobody_in_to_say_anything() {
    let (away, store) = Away::new();
    let bench = Bench::over(store, Config::default()).await;
    let reachable = bench.engine.submit.presence.reachable();
    reachable.backdate();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(reachable.all_could_come());
    away.set(true);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(!reachable.all_could_come());
}
