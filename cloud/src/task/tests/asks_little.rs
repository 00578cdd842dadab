//! What the engine asks of the store grows with what it does, never with what waits, how wide a task is, or how much an
//! agent says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ExecutionState as S;
use async_trait::async_trait;
use opslink::{
    id::{AgentId, AttemptId},
    pb,
    pb::AttemptPhase,
    task::ExecutionState,
};
use tokio::time::sleep;

use super::{
    bench::{Agent, Bench, on, report},
    big_scripts::{in_ten_minutes, queue_scripts},
};
use crate::{
    store::{
        Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::{
        Config,
        heard::{self, Heard},
    },
};

/// Counts what is asked of a store: calls and rows, by the name of the read.
#[derive(Default)]
pub(super) struct Counter(Mutex<BTreeMap<&'static str, (usize, usize)>>);

#[async_trait]
impl Faults for Counter {
    async fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }

    fn answered(&self, read: &'static str, rows: usize) {
        let mut counts = self.0.lock().unwrap();
        let (calls, all) = counts.entry(read).or_default();
        *calls += 1;
        *all += rows;
    }
}

impl Counter {
    pub(super) fn new() -> (Arc<Self>, Store) {
        let counter = Arc::new(Self::default());
        let store = Store::from(MemoryStore::with_faults(counter.clone()));
        (counter, store)
    }

    pub(super) fn begin_anew(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn calls(&self, read: &str) -> usize {
        self.0.lock().unwrap().get(read).map_or(0, |(calls, _)| *calls)
    }

    pub(super) fn rows(&self, read: &str) -> usize {
        self.0.lock().unwrap().get(read).map_or(0, |(_, rows)| *rows)
    }

    fn all_calls(&self) -> usize {
        self.0.lock().unwrap().values().map(|(calls, _)| calls).sum()
    }

    fn all_rows(&self) -> usize {
        self.0.lock().unwrap().values().map(|(_, rows)| rows).sum()
    }
}

/// Calls that are made beside those that are counted one by one: of a greeting, of looks into queues, of a cloud that
/// begins.
const FEW: usize = 16;

/// A cloud whose timers ask nothing.
fn still() -> Config {
    Config {
        reconcile_every: Duration::from_secs(3_600),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_free_slot_costs_one_row_and_one_script_however_many_wait_for_it() {
    const SLOTS: usize = 2;
    const ENDS: usize = 40;
    let (counter, store) = Counter::new();
    let config = Config {
        slots_per_agent: SLOTS,
        ..still()
    };
    let bench = Bench::over(store.clone(), config).await;
    let id = bench.join("web").await;
    queue_scripts(&store, id, in_ten_minutes(), (500, 64 << 10)).await;
    counter.begin_anew();
    let mut agent = bench.attach(id, Vec::new()).await;
    for _ in 0..ENDS {
        let attempt = agent.task().await;
        agent.finish(attempt, &[], S::Succeeded).await;
    }
    let waiting = counter.rows("execution_waiting");
    let scripts = counter.rows("task_bodies") + counter.rows("task_get");
    assert!(
        waiting >= ENDS && scripts >= ENDS,
        "{waiting} and {scripts} were counted"
    );
    // What came in the place of the last ones may have been read too.
    let handed_out = ENDS + SLOTS;
    assert!(scripts <= handed_out, "{scripts} scripts for {handed_out} tasks");
    let rows = counter.all_rows();
    assert!(rows <= 2 * handed_out, "{rows} rows for {handed_out} tasks");
}

/// Spreads a task over so many agents, and returns how many rows were read until the last of them was at work.
async fn rows_of_a_rollout(agents: usize, max_parallel: u32) -> usize {
    let (counter, store) = Counter::new();
    let bench = Bench::over(store, still()).await;
    let mut fleet = Vec::with_capacity(agents);
    for number in 0..agents {
        fleet.push(bench.joined(&format!("agent-{number:03}")).await);
    }
    let request = pb::CreateTaskRequest {
        selector: Some(pb::Selector {
            all: true,
            ..Default::default()
        }),
        rollout: Some(pb::Rollout {
            max_parallel,
            max_failures: 0,
        }),
        ..on(&[])
    };
    bench.create(request).await.unwrap();
    counter.begin_anew();
    // In the order of names, which is that of ids: as they are started.
    for agent in &mut fleet {
        let attempt = agent.task().await;
        agent.finish(attempt, &[], S::Succeeded).await;
    }
    counter.all_rows()
}

#[tokio::test]
async fn an_end_in_a_rollout_costs_as_many_rows_in_a_wide_task_as_in_a_narrow_one() {
    // The counts of the task before and after, who is started, and the task itself when nothing of it was at work.
    const ROWS_PER_END: usize = 4;
    const WIDTH: u32 = 4;
    for agents in [50, 400] {
        let rows = rows_of_a_rollout(agents, WIDTH).await;
        assert!(
            rows >= agents - WIDTH as usize,
            "{rows} were counted, and so many were started"
        );
        assert!(rows <= ROWS_PER_END * agents, "{rows} rows for {agents} ends");
    }
}

#[tokio::test]
async fn a_flood_of_made_up_attempts_is_one_question_to_the_store() {
    let (counter, store) = Counter::new();
    let bench = Bench::over(store, still()).await;
    let agent = bench.joined("web").await;
    let made_up = || Heard::accepted(agent.id, agent.welcome.session_epoch, AttemptId::new(), true);
    let words: Vec<_> = (0..1_000).map(|_| made_up()).collect();
    counter.begin_anew();
    let (commit, links) = (&bench.engine.submit.commit, bench.engine.links());
    heard::apply(commit, links, &words).await.unwrap();
    assert_eq!(counter.calls("execution_by_attempts"), 1);
    let calls = counter.all_calls();
    assert!(calls <= FEW, "{calls} calls for {} words", words.len());
}

#[tokio::test]
async fn a_greeting_asks_about_all_attempts_at_once_however_many_are_reported() {
    for attempts in [1, 10_000] {
        let (counter, store) = Counter::new();
        let bench = Bench::over(store, still()).await;
        let id = bench.join("web").await;
        counter.begin_anew();
        let reports = (0..attempts).map(|_| report(AttemptId::new(), AttemptPhase::Ended, 3));
        let agent = bench.attach(id, reports.collect()).await;
        assert_eq!(agent.welcome.attempts.len(), attempts);
        assert_eq!(counter.calls("execution_by_attempts"), 1);
        assert_eq!(counter.calls("chunk_next_seq"), 1);
        let calls = counter.all_calls();
        assert!(calls <= FEW, "{calls} calls for {attempts} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dials_often_takes_one_place_among_those_that_are_greeted() {
    let bench = Bench::with(Config {
        concurrency: 1,
        ..still()
    })
    .await;
    let (busy, quiet) = (bench.join("busy").await, bench.join("quiet").await);
    let held = bench.engine.attach_gate().acquire_owned().await.unwrap();
    let links = bench.engine.links().clone();
    let dial = |id: AgentId| {
        let (dialing, up) = Agent::dial(&links, id, Vec::new());
        (tokio::spawn(dialing), up)
    };
    // As many as one connection may open.
    let often: Vec<_> = (0..64).map(|_| dial(busy)).collect();
    let (once, up) = dial(quiet);
    // The clock moves once nothing else does: whoever can say Hello has said it by then.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.engine.links().arrivals(), 2, "one of each agent");
    drop(held);
    let agent = Agent::welcomed(quiet, once.await.unwrap().unwrap(), up).await;
    assert!(bench.engine.links().is_live(agent.id));
    drop(often);
}
