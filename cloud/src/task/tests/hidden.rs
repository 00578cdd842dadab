//! Who is here and answers nothing hides nobody who is away, however much it has to do.

use std::time::Duration;

use opslink::{
    id::{AgentId, AttemptId},
    pb::ExecutionState as P,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    bench::{Bench, audit},
    records,
    trouble::quick,
};
use crate::{
    store::{Store, record::Execution},
    task::Config,
};

/// As many as one look reads at once.
const PAGE: usize = 1_000;

/// Hands a task over that was to be answered long ago.
async fn hand_over(store: &Store, agent: AgentId) -> String {
    let task = records::task();
    let execution = Execution {
        state: ExecutionState::Dispatched,
        attempt_id: Some(AttemptId::new()),
        attempt_number: 1,
        queue_deadline: Some(UnixMicros(1)),
        ..records::waiting(task.id, agent, "somebody")
    };
    let id = task.id.to_string();
    store.task_create(task, vec![execution], audit()).await.unwrap();
    id
}

#[tokio::test]
async fn what_an_agent_that_went_did_not_answer_is_lost_behind_a_page_of_one_that_is_here() {
    let config = Config {
        answer_within: Duration::ZERO,
        ..quick()
    };
    let bench = Bench::with(config).await;
    let here = bench.joined("here").await;
    let gone = bench.joined("gone").await;
    let id = gone.id;
    assert!(here.id < id, "they are looked at in this order");
    drop(gone);
    bench.until_offline(id).await;
    for _ in 0..PAGE {
        hand_over(&bench.store, here.id).await;
    }
    let task = hand_over(&bench.store, id).await;
    bench.until(&task, &[P::Lost]).await;
    assert!(bench.engine.links().is_live(here.id), "it was here all the time");
}
