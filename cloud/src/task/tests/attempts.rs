//! Attempts of executions: what is read of them, what is shown, and how many there may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    pb::{ExecutionState as P, watch_task_response::Event as Sent},
    problem::Problem,
    reason::Reason,
    task::ExecutionState as S,
    time::UnixMicros,
};
use prost::Message;

use super::{
    asks_little::Counter,
    bench::{Agent, Bench, audit, caller, on, soon},
    records,
};
use crate::{
    store::{
        Result, Store,
        memory::{Faults, MemoryStore, Point},
        record::{Execution, ExecutionWrite, Task},
    },
    task::{
        Config,
        attempts::{KEPT_MAX, OF_ONE_MAX, OF_PAGE_MAX},
    },
};

fn name(number: usize) -> String {
    format!("agent-{number:04}")
}

/// Stores a task that has failed on these agents, the newest attempt of each with this number.
async fn stored(store: &Store, agents: &[(AgentId, String)], number: u32) -> TaskId {
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Fake(pb::FakeSpec::default())),
        ..Default::default()
    };
    let task = Task {
        spec: spec.encode_to_vec().into(),
        queue_ttl_secs: Some(600),
        ..records::task()
    };
    let execution = |(agent_id, agent_name): &(AgentId, String)| Execution {
        state: S::Failed,
        attempt_id: Some(AttemptId::new()),
        attempt_number: number,
        finished_at: Some(UnixMicros(1)),
        ..records::waiting(task.id, *agent_id, agent_name.clone())
    };
    let executions = agents.iter().map(execution).collect();
    let id = task.id;
    store.task_create(task, executions, audit()).await.unwrap();
    id
}

fn agents(count: usize) -> Vec<(AgentId, String)> {
    (0..count).map(|number| (AgentId::new(), name(number))).collect()
}

/// Stores a task with so many executions, each of which has failed so many times.
async fn retried(store: &Store, executions: usize, attempts: u32) -> TaskId {
    let task = stored(store, &agents(executions), 1).await;
    for _ in 1..attempts {
        let again = |before: Execution| ExecutionWrite {
            before: (before.state, before.attempt_id),
            after: Execution {
                attempt_id: Some(AttemptId::new()),
                attempt_number: before.attempt_number + 1,
                ..before
            },
            output: None,
        };
        let now = store.execution_list(task, None, u32::MAX).await.unwrap();
        let writes = now.into_iter().map(again).collect();
        store.execution_apply(writes, None).await.unwrap();
    }
    task
}

fn list(task: &str, page_size: i32, page_token: &str) -> pb::ListExecutionsRequest {
    pb::ListExecutionsRequest {
        task_id: task.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    }
}

fn numbers(execution: &pb::Execution) -> Vec<u32> {
    execution.attempts.iter().map(|attempt| attempt.number).collect()
}

fn retry(task: &str) -> pb::RetryTaskRequest {
    pb::RetryTaskRequest {
        id: task.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_page_reads_the_attempts_of_its_own_executions_and_no_other() {
    let (counter, store) = Counter::new();
    let bench = Bench::over(store.clone(), Config::default()).await;
    let task = retried(&store, 20, 3).await.to_string();
    for (page_size, attempts) in [(1, 3), (20, 60)] {
        counter.begin_anew();
        let page = bench.engine.list_executions(list(&task, page_size, "")).await.unwrap();
        assert_eq!(page.executions.len(), page_size as usize);
        assert!(page.executions.iter().all(|execution| numbers(execution) == [1, 2, 3]));
        assert_eq!(counter.rows("attempt_heads"), attempts);
        assert_eq!(counter.calls("attempt_list"), 0, "with all ends of the whole task");
    }
}

#[tokio::test]
async fn a_page_ends_where_its_attempts_become_too_many_and_the_next_goes_on_there() {
    let bench = Bench::new().await;
    let task = stored(&bench.store, &agents(40), OF_ONE_MAX).await.to_string();
    let mut token = String::new();
    let mut names = Vec::new();
    loop {
        let page = bench.engine.list_executions(list(&task, 1_000, &token)).await.unwrap();
        assert!(!page.executions.is_empty() && page.executions.len() <= (OF_PAGE_MAX / OF_ONE_MAX) as usize);
        names.extend(page.executions.into_iter().map(|execution| execution.agent_name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, (0..40).map(name).collect::<Vec<_>>());
}

/// The most attempts that were read at once.
#[derive(Default)]
struct Most(AtomicUsize);

#[async_trait]
impl Faults for Most {
    async fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }

    fn answered(&self, read: &'static str, rows: usize) {
        if read.starts_with("attempt_") {
            self.0.fetch_max(rows, Ordering::SeqCst);
        }
    }
}

type Messages = BoxStream<'static, std::result::Result<pb::WatchTaskResponse, Problem>>;

/// The next execution that is sent.
async fn next_execution(messages: &mut Messages) -> Option<pb::Execution> {
    while let Some(message) = soon("the next message", messages.next()).await {
        if let Sent::Execution(execution) = message.unwrap().event.unwrap() {
            return Some(execution);
        }
    }
    None
}

#[tokio::test]
async fn a_watch_of_very_many_attempts_reads_some_at_a_time_and_shows_all() {
    const WIDTH: usize = 20;
    const ATTEMPTS: u32 = 300;
    let most = Arc::new(Most::default());
    let store = Store::from(MemoryStore::with_faults(most.clone()));
    let bench = Bench::over(store.clone(), Config::default()).await;
    let task = retried(&store, WIDTH, ATTEMPTS).await;
    let request = pb::WatchTaskRequest {
        task_id: task.to_string(),
        output: pb::OutputMode::Chunks.into(),
        all_attempts: true,
        // Somebody who resumes: what is of another task is passed over.
        positions: vec![pb::AttemptPosition {
            attempt_id: AttemptId::new().to_string(),
            next_seq: 7,
        }],
        ..Default::default()
    };
    let mut messages = bench.engine.watch(request).await.unwrap().boxed();
    let mut shown = 0;
    while let Some(execution) = next_execution(&mut messages).await {
        assert!(numbers(&execution).into_iter().eq(1..=ATTEMPTS));
        shown += 1;
    }
    assert_eq!(shown, 2 * WIDTH, "once, and once more after its output");
    let most = most.0.load(Ordering::SeqCst);
    assert!(most > 0 && most <= KEPT_MAX as usize, "{most} at once");
}

#[tokio::test]
async fn a_retry_that_is_watched_shows_the_attempt_before_it_and_how_that_ended() {
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let task = bench.create_on(&["a", "b"]).await.task.unwrap().id;
    let (first, _) = (a.task().await, b.task().await);
    let request = pb::WatchTaskRequest {
        task_id: task.clone(),
        ..Default::default()
    };
    let mut messages = bench.engine.watch(request).await.unwrap().boxed();
    for expected in ["a", "b"] {
        assert_eq!(next_execution(&mut messages).await.unwrap().agent_name, expected);
    }
    a.finish(first, &[], S::Failed).await;
    bench.until(&task, &[P::Failed, P::Dispatched]).await;
    bench.engine.retry(&caller(), retry(&task)).await.unwrap();
    loop {
        let execution = next_execution(&mut messages).await.unwrap();
        if execution.attempt_number == 2 {
            assert_eq!(numbers(&execution), [1, 2]);
            assert_eq!(execution.attempts[0].state(), P::Failed);
            break;
        }
    }
}

#[tokio::test]
async fn an_execution_has_so_many_attempts_and_no_more() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let web = [(agent.id, "web".to_owned())];
    let task = stored(&bench.store, &web, OF_ONE_MAX - 1).await.to_string();
    bench.engine.retry(&caller(), retry(&task)).await.unwrap();
    let last = agent.task().await;
    agent.finish(last, &[], S::Failed).await;
    bench.until(&task, &[P::Failed]).await;
    let refused = bench.engine.retry(&caller(), retry(&task)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AttemptsExhausted);
    assert_eq!(
        (refused.args["agents"].as_str(), refused.args["limit"].as_str()),
        ("web", "1000")
    );
}

/// Ends the next attempt of an agent.
async fn fail(agent: &mut Agent) {
    let attempt = agent.task().await;
    agent.finish(attempt, &[], S::Failed).await;
}

#[tokio::test]
async fn a_request_that_comes_again_reads_no_attempts_but_those_that_say_that_it_came() {
    let (counter, store) = Counter::new();
    let bench = Bench::over(store, Config::default()).await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let request_id = || uuid::Uuid::new_v4().to_string();
    let create = pb::CreateTaskRequest {
        request_id: request_id(),
        ..on(&["a", "b"])
    };
    let task = bench.create(create.clone()).await.unwrap().task.unwrap().id;
    fail(&mut a).await;
    fail(&mut b).await;
    bench.until(&task, &[P::Failed, P::Failed]).await;
    let again = |agents: &[&str]| pb::RetryTaskRequest {
        request_id: request_id(),
        agents: agents.iter().map(ToString::to_string).collect(),
        ..retry(&task)
    };
    let (first, second) = (again(&["a", "b"]), again(&["b"]));
    bench.engine.retry(&caller(), first.clone()).await.unwrap();
    fail(&mut a).await;
    fail(&mut b).await;
    bench.until(&task, &[P::Failed, P::Failed]).await;
    bench.engine.retry(&caller(), second).await.unwrap();
    fail(&mut b).await;
    bench.until(&task, &[P::Failed, P::Failed]).await;
    counter.begin_anew();
    assert_eq!(bench.create(create).await.unwrap().executions.len(), 2);
    assert_eq!(counter.rows("attempt_heads") + counter.rows("attempt_list"), 0);
    // The newest of `a` says so; of `b` an older one does, which has three.
    assert_eq!(bench.engine.retry(&caller(), first).await.unwrap().executions.len(), 2);
    assert_eq!(counter.rows("attempt_heads") + counter.rows("attempt_list"), 3);
}
