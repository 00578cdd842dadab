//! What a watch takes of the cloud that others want too: readers of the store, and bytes of a large script.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use opslink::{id::AgentId, pb, pb::watch_task_response::Event, task::ExecutionState as S};
use tokio::time::sleep;

use super::{
    asks_little::Counter,
    bench::{Bench, audit, caller, soon},
    records,
};
use crate::{
    identity::StreamWeight,
    signals::Signal,
    store::record::{Execution, Task},
    task::{
        Config,
        answer::Sent,
        request::{Output, WatchTask},
    },
};

#[tokio::test(start_paused = true)]
async fn a_watch_that_catches_up_stands_behind_the_other_watches_of_its_actor() {
    const HEARTBEAT: Duration = Duration::from_secs(15);
    let (counter, store) = Counter::new();
    let config = Config {
        watch_heartbeat: HEARTBEAT,
        ..Config::default()
    };
    let bench = Bench::over(store, config).await;
    let mut agent = bench.joined("web").await;
    let task_id = bench.create_on(&["web"]).await.task.unwrap().id;
    agent.task().await;
    let request = pb::WatchTaskRequest {
        task_id,
        ..Default::default()
    };
    let mut messages = bench.engine.watch(request).await.unwrap().boxed();
    for _ in ["the task", "its execution"] {
        soon("a message", messages.next()).await.unwrap().unwrap();
    }
    let held = bench.engine.watches.seats.of(&caller().actor).await;
    counter.begin_anew();
    sleep(2 * HEARTBEAT).await;
    assert!(messages.next().now_or_never().is_none());
    assert_eq!(counter.calls("execution_changes"), 0, "it has no seat");
    drop(held);
    let beat = soon("a heartbeat", messages.next()).await.unwrap().unwrap();
    assert!(matches!(beat.event, Some(Event::Heartbeat(_))), "{beat:?}");
    assert!(counter.calls("execution_changes") > 0);
}

/// A task with the largest script that waits for so many agents.
fn large(agents: u64) -> (Task, Vec<Execution>) {
    let task = Task {
        spec: vec![b'x'; 512 << 10].into(),
        ..records::task()
    };
    let execution = |number| records::waiting(task.id, AgentId::new(), format!("agent-{number:04}"));
    let executions = (0..agents).map(execution).collect();
    (task, executions)
}

#[tokio::test(start_paused = true)]
async fn a_large_script_is_sent_once_a_second_however_often_its_task_changes() {
    const CHANGES: u64 = 200;
    let bench = Bench::new().await;
    let (task, executions) = large(CHANGES);
    let id = task.id;
    bench
        .store
        .task_create(task, executions.clone(), audit())
        .await
        .unwrap();
    let request = WatchTask {
        task: id.to_string(),
        output: Output::Nothing,
        positions: HashMap::new(),
        agents: Vec::new(),
        follow: true,
        all_attempts: false,
    };
    let messages = bench
        .engine
        .0
        .watch(&caller(), request, StreamWeight::default())
        .await
        .unwrap();
    let told = Arc::new(Mutex::new(Vec::<BTreeMap<S, u32>>::new()));
    let counts = Arc::clone(&told);
    // Ends with the watch, which ends with the bench.
    tokio::spawn(messages.for_each(move |sent| {
        if let Ok(Sent::Task(view)) = sent {
            counts.lock().unwrap().push(view.counts);
        }
        std::future::ready(())
    }));
    // For ten seconds.
    for (number, execution) in executions.into_iter().enumerate() {
        sleep(Duration::from_millis(50)).await;
        let changed = Execution {
            state: S::Running,
            revision: 1_000 + number as u64,
            ..execution
        };
        bench
            .engine
            .submit
            .commit
            .signals
            .send(Signal::ExecutionChanged(&changed));
    }
    sleep(Duration::from_secs(2)).await;
    let told = told.lock().unwrap();
    assert!((5..=12).contains(&told.len()), "{} times", told.len());
    let last = told.last().unwrap();
    assert_eq!(last.get(&S::Running), Some(&200), "{last:?}");
}
