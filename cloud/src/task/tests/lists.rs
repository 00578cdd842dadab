//! What a list of tasks asks the store: as much for a page of finished tasks as for one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, AttemptId},
    task::ExecutionState,
    time::UnixMicros,
};

use super::{bench::audit, records};
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
        created_at: UnixMicros(1),
        ..records::task()
    };
    let execution = |number| Execution {
        state: ExecutionState::Succeeded,
        attempt_id: Some(AttemptId::new()),
        attempt_number: 1,
        started_at: Some(UnixMicros(1)),
        finished_at: Some(UnixMicros(last_end - number)),
        output_verified: true,
        ..records::waiting(task.id, AgentId::new(), format!("agent-{number:04}"))
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
