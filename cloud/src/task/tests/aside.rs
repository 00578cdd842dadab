//! A word that the store does not take, although it answers, waits beside those of others.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb::ExecutionState as P,
    task::ExecutionState as S,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    bench::{Agent, Bench, soon},
    records::ended_as,
};
use crate::{
    store::{
        Error, Result, Store,
        memory::{Faults, MemoryStore, Point},
    },
    task::{
        Config,
        heard::{self, Heard, Hearing},
    },
};

/// A store that answers, and is too slow for one execution.
#[derive(Default)]
struct Slow {
    execution: Mutex<Option<(TaskId, AgentId)>>,
    /// Whether each write takes so long as one that waits for a lock in vain, twice.
    in_all: AtomicBool,
}

impl Slow {
    /// It, and a cloud on it.
    async fn bench() -> (Arc<Self>, Bench) {
        let slow = Arc::new(Self::default());
        let store = Store::from(MemoryStore::with_faults(slow.clone()));
        (slow, Bench::over(store, Config::default()).await)
    }

    /// From now on it does not take this task's execution there.
    fn refuse(&self, task: &str, agent: AgentId) {
        *self.execution.lock().unwrap() = Some((task.parse().unwrap(), agent));
    }

    /// It takes everything again.
    fn heal(&self) {
        *self.execution.lock().unwrap() = None;
    }
}

/// A new agent with a task that runs.
async fn at_work(bench: &Bench, name: &str) -> (Agent, String, AttemptId) {
    let mut agent = bench.joined(name).await;
    let task = bench.create_on(&[name]).await.task.unwrap().id;
    let attempt = agent.task().await;
    agent.accept(attempt).await;
    bench.until(&task, &[P::Running]).await;
    (agent, task, attempt)
}

/// Takes these words, in one batch, for as long as the queue is there.
async fn hears(bench: &Bench, words: Vec<Heard>) -> (Hearing, JoinHandle<()>) {
    let (hearing, queue) = Hearing::new();
    for word in words {
        hearing.take(word).await;
    }
    let (commit, links) = (bench.engine.submit.commit.clone(), bench.engine.links().clone());
    (hearing, tokio::spawn(heard::run(commit, links, queue)))
}

#[async_trait]
impl Faults for Slow {
    async fn at(&self, point: Point) -> Result<()> {
        if point == Point::BeforeWrite && self.in_all.load(Ordering::Relaxed) {
            sleep(Duration::from_secs(6)).await;
        }
        Ok(())
    }

    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        *self.execution.lock().unwrap()
    }

    fn damage(&self, name: &str) -> Error {
        Error::unavailable(format!("{name}: canceling statement due to statement timeout"))
    }
}

/// It was tried again without end, and nobody's word was taken any more.
#[tokio::test(start_paused = true)]
async fn a_word_that_is_not_taken_now_waits_beside_the_others() {
    let (slow, bench) = Slow::bench().await;
    let (mut a, of_a, attempt) = at_work(&bench, "a").await;
    let mut b = bench.joined("b").await;

    slow.refuse(&of_a, a.id);
    a.finish(attempt, &["x\n"], S::Succeeded).await;
    let of_b = bench.create_on(&["b"]).await.task.unwrap().id;
    let other = b.task().await;
    b.finish(other, &["y\n"], S::Succeeded).await;
    assert_eq!(soon("the other's end", b.archived(other)).await, 2);
    bench.until(&of_b, &[P::Succeeded]).await;

    slow.heal();
    assert_eq!(
        soon("its own end", a.archived(attempt)).await,
        2,
        "nothing of it was lost"
    );
    bench.until(&of_a, &[P::Succeeded]).await;
}

/// What waited for its write was in no agent's share: one that repeated its end filled 130 MiB.
#[tokio::test(start_paused = true)]
async fn ends_that_wait_for_the_store_take_their_agents_room() {
    let (slow, bench) = Slow::bench().await;
    let (a, task, attempt) = at_work(&bench, "a").await;

    slow.refuse(&task, a.id);
    let sent = AtomicUsize::new(0);
    let flood = async {
        for _ in 0..4_096 {
            a.finish(attempt, &[], S::Succeeded).await;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    timeout(Duration::from_secs(3), flood)
        .await
        .expect_err("all of them were taken");
    // 256 in its share, 1,024 in the test's own channel, one of either that is between two places.
    let most = 256 + 1_024 + 2;
    assert!(sent.load(Ordering::Relaxed) <= most, "{sent:?}");
}

/// An agent that said something new of such an attempt again and again filled the place beside, and then nobody was heard.
#[tokio::test(start_paused = true)]
async fn whoever_says_too_much_of_one_attempt_stops_nobody_else() {
    let (slow, bench) = Slow::bench().await;
    let (mut a, of_a, attempt) = at_work(&bench, "a").await;
    let mut b = bench.joined("b").await;
    slow.refuse(&of_a, a.id);
    a.finish(attempt, &["x\n"], S::Succeeded).await;
    // It waits beside the others.
    sleep(Duration::from_secs(30)).await;
    for why in 0..600 {
        let frame = opslink::pb::Refused {
            attempt_id: attempt.to_string(),
            reason: "NO".to_owned(),
            message: format!("{why}"),
        };
        let refused = opslink::pb::attach_request::Frame::Refused(frame);
        let request = opslink::pb::AttachRequest { frame: Some(refused) };
        if a.up.send(Ok(request)).await.is_err() {
            break;
        }
    }
    assert_eq!(
        a.end_of_link().await.expect("why").reason,
        opslink::reason::Reason::FrameUnexpected
    );

    let of_b = bench.create_on(&["b"]).await.task.unwrap().id;
    let other = b.task().await;
    b.finish(other, &["y\n"], S::Succeeded).await;
    let limit = Duration::from_secs(60);
    timeout(limit, b.archived(other)).await.expect("the other's end");
    bench.until(&of_b, &[P::Succeeded]).await;
}

/// The same in one batch, before anything of the attempt waited: it could not be cut, and was more than has room beside.
#[tokio::test(start_paused = true)]
async fn whoever_says_too_much_at_once_stops_nobody_else() {
    let (slow, bench) = Slow::bench().await;
    // Not accepted: it may still be refused.
    let mut a = bench.joined("a").await;
    let of_a = bench.create_on(&["a"]).await.task.unwrap().id;
    let attempt = a.task().await;
    let (b, of_b, other) = at_work(&bench, "b").await;
    slow.refuse(&of_a, a.id);
    let epoch = a.welcome.session_epoch;
    let refused = |why: u32| Heard::refused(a.id, epoch, attempt, "NO".to_owned(), why.to_string());
    let mut words: Vec<_> = (0..300).map(refused).collect();
    words.push(Heard::ended(b.id, other, ended_as(S::Succeeded), true, 1));
    let (_queue, hearer) = hears(&bench, words).await;
    assert_eq!(
        a.end_of_link().await.expect("why").reason,
        opslink::reason::Reason::FrameUnexpected
    );
    bench.until(&of_b, &[P::Succeeded]).await;
    hearer.abort();
}

/// Each try began with all of them, took longer than a round may take, and was forgotten: none of them was ever taken.
#[tokio::test(start_paused = true)]
async fn however_slowly_a_word_is_refused_those_beside_it_are_taken() {
    let (slow, bench) = Slow::bench().await;
    let (mut words, mut tasks) = (Vec::new(), Vec::new());
    let mut agents = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let (agent, task, attempt) = at_work(&bench, name).await;
        words.push(Heard::ended(agent.id, attempt, ended_as(S::Succeeded), true, 1));
        tasks.push(task);
        agents.push(agent);
    }
    let bad = 2;
    slow.refuse(&tasks[bad], agents[bad].id);
    slow.in_all.store(true, Ordering::Relaxed);

    let (_queue, hearer) = hears(&bench, words).await;
    let taken = async |task: &String| {
        while bench.states(task).await != [P::Succeeded] {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let a_while = Duration::from_secs(300);
    for (at, task) in tasks.iter().enumerate() {
        if at != bad {
            timeout(a_while, taken(task)).await.expect("the word of another");
        }
    }
    slow.heal();
    timeout(a_while, taken(&tasks[bad])).await.expect("its own word");
    hearer.abort();
}
