//! Whoever ends or greets many waiting executions holds few of their scripts at the same time.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opslink::{id::AgentId, pb, time::UnixMicros};
use prost::Message;
use tokio::time::sleep;

use super::{
    bench::{Bench, audit, soon},
    records,
};
use crate::{
    store::{
        Result, Store,
        memory::{Faults, MemoryStore, Point},
        record::{Execution, Task},
    },
    task::{Config, book::Book, info::BODIES_MAX},
};

/// Tasks that wait, each with a script of its own: four times what may be held.
const TASKS: usize = 128;
const SCRIPT_BYTES: usize = 512 << 10;

/// Weighs at each call of the store what is held of scripts.
#[derive(Default)]
struct Scales {
    book: OnceLock<Book>,
    most: AtomicUsize,
    at_last_write: AtomicUsize,
    most_for_a_write: AtomicUsize,
}

#[async_trait]
impl Faults for Scales {
    async fn at(&self, point: Point) -> Result<()> {
        let held = self.book.get().map_or(0, |book| book.infos().spec_bytes());
        self.most.fetch_max(held, Ordering::SeqCst);
        if point == Point::BeforeWrite {
            let before = self.at_last_write.swap(held, Ordering::SeqCst);
            let new = held.saturating_sub(before);
            self.most_for_a_write.fetch_max(new, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Scales {
    fn new() -> (Arc<Self>, Store) {
        let scales = Arc::new(Self::default());
        let store = Store::from(MemoryStore::with_faults(scales.clone()));
        (scales, store)
    }

    fn weigh(&self, bench: &Bench) {
        let book = bench.engine.submit.commit.book.clone();
        assert!(self.book.set(book).is_ok(), "they weigh one cloud");
    }

    fn assert_little(&self) {
        let most = self.most.load(Ordering::SeqCst);
        assert!(most > 0, "nothing was weighed");
        assert!(most <= 2 * BODIES_MAX, "{} MiB of scripts at once", most >> 20);
    }
}

async fn queue(store: &Store, agent: AgentId, deadline: UnixMicros) {
    queue_scripts(store, agent, deadline, (TASKS, SCRIPT_BYTES)).await;
}

/// So many tasks, with scripts of so many bytes, that wait for the agent until this time.
pub(super) async fn queue_scripts(
    store: &Store,
    agent: AgentId,
    deadline: UnixMicros,
    (tasks, script_bytes): (usize, usize),
) {
    let shell = pb::ShellSpec {
        script: vec![b'x'; script_bytes].into(),
        ..Default::default()
    };
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
        ..Default::default()
    };
    let spec: bytes::Bytes = spec.encode_to_vec().into();
    for _ in 0..tasks {
        let task = Task {
            spec: spec.clone(),
            ..records::task()
        };
        let execution = Execution {
            queue_deadline: Some(deadline),
            ..records::waiting(task.id, agent, "web")
        };
        store.task_create(task, vec![execution], audit()).await.unwrap();
    }
}

async fn until_nothing_waits(store: &Store, agent: AgentId) {
    let nothing = async {
        while !store.execution_waiting(agent, 1).await.unwrap().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the end of all that waits", nothing).await;
}

pub(super) fn in_ten_minutes() -> UnixMicros {
    UnixMicros::now().plus(Duration::from_secs(600))
}

#[tokio::test]
async fn an_expiry_of_many_scripts_holds_few_of_them() {
    let (scales, store) = Scales::new();
    let former = Bench::over(store.clone(), Config::default()).await;
    let agent = former.join("web").await;
    former.stop();
    queue(&store, agent, UnixMicros(1)).await;
    let bench = Bench::over(store.clone(), Config::default()).await;
    scales.weigh(&bench);
    until_nothing_waits(&store, agent).await;
    scales.assert_little();
}

#[tokio::test]
async fn a_removal_of_an_agent_with_many_scripts_holds_few_of_them() {
    let (scales, store) = Scales::new();
    let bench = Bench::over(store.clone(), Config::default()).await;
    scales.weigh(&bench);
    let agent = bench.join("web").await;
    queue(&store, agent, in_ten_minutes()).await;
    bench.engine.remove_agent(agent, audit()).await.unwrap();
    until_nothing_waits(&store, agent).await;
    scales.assert_little();
}

#[tokio::test]
async fn a_greeting_of_an_agent_that_many_scripts_waited_for_in_vain_holds_few_of_them() {
    let (scales, store) = Scales::new();
    let could_come_at_once = Config {
        return_within: Duration::ZERO,
        ..Config::default()
    };
    let bench = Bench::over(store.clone(), could_come_at_once).await;
    scales.weigh(&bench);
    let agent = bench.joined("web").await.id;
    bench.until_offline(agent).await;
    queue(&store, agent, in_ten_minutes()).await;
    bench.directory.backdate(agent, Duration::from_secs(90));
    // None of them asked to wait for it.
    let _here = bench.attach(agent, Vec::new()).await;
    until_nothing_waits(&store, agent).await;
    scales.assert_little();
}

#[tokio::test]
async fn a_look_into_a_queue_of_many_scripts_reads_few_of_them_for_one_write() {
    let (scales, store) = Scales::new();
    let slots_for_all = Config {
        slots_per_agent: TASKS,
        ..Config::default()
    };
    let bench = Bench::over(store.clone(), slots_for_all).await;
    scales.weigh(&bench);
    let agent = bench.joined("web").await;
    queue(&store, agent.id, in_ten_minutes()).await;
    bench.engine.submit.dispatch.look_soon(agent.id);
    until_nothing_waits(&store, agent.id).await;
    // All of them are at work, so all of them are held in the end.
    assert!(scales.most.load(Ordering::SeqCst) >= TASKS * SCRIPT_BYTES);
    let most = scales.most_for_a_write.load(Ordering::SeqCst);
    assert!(most <= 2 * BODIES_MAX, "{} MiB of scripts for one write", most >> 20);
}
