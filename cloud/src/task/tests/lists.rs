//! What a list of tasks asks the store: as much for a page of finished tasks as for one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};

use super::bench::audit;
use crate::{
    agents::Directory,
    store::{
        Result, Store,
        memory::{Faults, MemoryStore, Point},
        record::{Execution, Task},
    },
    task::{request::ListTasks, view::View},
};

/// Counts what the store is asked.
#[derive(Default)]
struct Questions(AtomicUsize);

#[async_trait]
impl Faults for Questions {
    async fn at(&self, point: Point) -> Result<()> {
        if point == Point::Read {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Stores a task that has ended on so many agents, the last of them at this time.
async fn finished(store: &Store, agents: i64, last_end: i64) {
    let task = Task {
        id: TaskId::new(),
        spec: bytes::Bytes::new(),
        selector: bytes::Bytes::new(),
        max_parallel: 0,
        max_failures: 0,
        queue_ttl_secs: None,
        created_by: "ann".to_owned(),
        created_at: UnixMicros(1),
        request_id: None,
        request_hash: Vec::new(),
        reason: String::new(),
        cancel_requested: false,
    };
    let execution = |number| Execution {
        task_id: task.id,
        agent_id: AgentId::new(),
        agent_name: format!("agent-{number:04}"),
        state: ExecutionState::Succeeded,
        attempt_id: Some(AttemptId::new()),
        attempt_number: 1,
        queue_deadline: None,
        cancel_requested: false,
        started_at: Some(UnixMicros(1)),
        finished_at: Some(UnixMicros(last_end - number)),
        outcome: None,
        output_verified: true,
        revision: 0,
    };
    let executions = (0..agents).map(execution).collect();
    store.task_create(task, executions, audit()).await.unwrap();
}

#[tokio::test]
async fn a_page_of_finished_tasks_takes_as_many_questions_as_one() {
    let questions = Arc::new(Questions::default());
    let store = Store::from(MemoryStore::with_faults(questions.clone()));
    let view = View {
        store: store.clone(),
        directory: Directory::default(),
    };
    let mut asked = Vec::new();
    for tasks in [1, 50] {
        for _ in 0..tasks {
            // Wider than any list would look through.
            finished(&store, 300, 1_000).await;
        }
        let before = questions.0.load(Ordering::SeqCst);
        let request = ListTasks {
            agent: None,
            states: Vec::new(),
            before: None,
            page_size: 100,
        };
        let page = view.list(request).await.unwrap();
        asked.push((page.items.len(), questions.0.load(Ordering::SeqCst) - before));
        let mut ends = page.items.iter().map(|task| task.finished_at);
        assert!(ends.all(|end| end == Some(UnixMicros(1_000))));
    }
    // Their ids, their counts with the last ends, their scripts.
    assert_eq!(asked, [(1, 3), (51, 3)]);
}
