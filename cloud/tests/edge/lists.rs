//! Lists that everybody reads stay small enough to be read, whatever somebody has put into them.

use std::time::Duration;

use opslink::{id::TaskId, pb, time::UnixMicros};
use opslink_cloud::store::record::{Role, Task};
use pb::task_service_client::TaskServiceClient;
use prost::Message;

use crate::harness::{Edge, audit, with_bearer};

const TASKS: usize = 60;
/// The largest script.
const SCRIPT_BYTES: usize = 512 << 10;
/// What an answer may have.
const ANSWER_BYTES: usize = 8 << 20;

/// A task with a large script; its id.
async fn store_task(edge: &Edge) -> TaskId {
    let shell = pb::ShellSpec {
        script: vec![b'x'; SCRIPT_BYTES].into(),
        ..Default::default()
    };
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
        ..Default::default()
    };
    let task = Task {
        id: TaskId::new(),
        spec: spec.encode_to_vec().into(),
        selector: pb::Selector::default().encode_to_vec().into(),
        max_parallel: 0,
        max_failures: 0,
        queue_ttl_secs: None,
        created_by: "ann".to_owned(),
        created_at: UnixMicros::now(),
        request_id: None,
        request_hash: Vec::new(),
        reason: String::new(),
        cancel_requested: false,
    };
    let id = task.id;
    edge.cloud.store.task_create(task, Vec::new(), audit()).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_with_large_scripts_are_listed_in_pages_that_can_be_read() {
    let edge = Edge::memory().await;
    let mut stored = Vec::new();
    for _ in 0..TASKS {
        stored.push(store_task(&edge).await.to_string());
    }
    stored.reverse();
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut client = TaskServiceClient::new(edge.plain().await).max_decoding_message_size(4 * ANSWER_BYTES);
    let (mut listed, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = pb::ListTasksRequest {
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = client.list_tasks(with_bearer(request, &viewer)).await.unwrap();
        let page = page.into_inner();
        assert!(page.encoded_len() <= ANSWER_BYTES, "{} bytes", page.encoded_len());
        assert!(!page.tasks.is_empty(), "a page moves on");
        listed.extend(page.tasks.into_iter().map(|task| task.id));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(pages > 1, "all of them fit one page: nothing was tried");
    assert_eq!(listed, stored, "newest first, each once");
}
