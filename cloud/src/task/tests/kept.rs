//! What the engine keeps for as long as a task is at work is its own: nothing keeps the request that made the task.

use bytes::Bytes;
use opslink::{pb, pb::fake_step::Step};
use prost::Message;

use super::bench::{Bench, on};

#[tokio::test]
async fn a_task_at_work_keeps_nothing_of_the_buffer_its_request_came_in() {
    let bench = Bench::new().await;
    let mut agent = bench.joined("web").await;
    let step = pb::FakeStep {
        step: Some(Step::Stdout(Bytes::from_static(b"x"))),
    };
    let fake = pb::FakeSpec { steps: vec![step] };
    let request = pb::CreateTaskRequest {
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Fake(fake)),
            ..Default::default()
        }),
        ..on(&["web"])
    };
    // As from the wire: with whatever else stood in the request.
    let buffer = Bytes::from(request.encode_to_vec());
    let request = pb::CreateTaskRequest::decode(buffer.clone()).unwrap();
    assert!(!buffer.is_unique(), "what is read of it are slices");
    let attempt = bench.create(request).await.unwrap().executions.remove(0).attempt_id;
    assert_eq!(agent.task().await.to_string(), attempt);
    let infos = bench.engine.submit.commit.book.infos();
    assert!(infos.spec_bytes() > 0, "it is at work");
    assert!(buffer.is_unique(), "something keeps it");
}
