//! What a viewer makes up and sends leaves nothing large behind.

use std::time::Duration;

use opslink::{id::TaskId, pb, time::UnixMicros};
use opslink_cloud::store::record::{Role, Task};
use pb::{log_service_client::LogServiceClient, task_service_client::TaskServiceClient};
use prost::Message;
use tokio::time::timeout;

use crate::harness::{Edge, LIMIT, audit, with_bearer};

/// Below what each of the two calls may have.
const ID_BYTES: usize = 1_000_000;
/// What a row of this trail may have.
const ROW_BYTES: usize = 1 << 10;

fn watch(task_id: String) -> pb::WatchTaskRequest {
    pb::WatchTaskRequest {
        task_id,
        output: pb::OutputMode::Chunks.into(),
        no_follow: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_a_megabyte_leave_no_large_row_in_the_audit_trail() {
    let edge = Edge::memory().await;
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut tasks = TaskServiceClient::new(edge.plain().await);
    let mut logs = LogServiceClient::new(edge.plain().await);
    for letter in ["a", "x"] {
        let id = letter.repeat(ID_BYTES);
        let read = pb::ReadLogRequest {
            attempt_id: id.clone(),
            ..Default::default()
        };
        assert!(tasks.watch_task(with_bearer(watch(id), &viewer)).await.is_err());
        assert!(logs.read_log(with_bearer(read, &viewer)).await.is_err());
    }
    // One that is there, behind them: its row is the last of the four, in the order of the calls.
    let task = Task {
        id: TaskId::new(),
        spec: pb::TaskSpec::default().encode_to_vec().into(),
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
    let resource = format!("task/{}", task.id);
    let mut calls = TaskServiceClient::new(edge.plain().await);
    let request = watch(task.id.to_string());
    edge.cloud.store.task_create(task, Vec::new(), audit()).await.unwrap();
    calls.watch_task(with_bearer(request, &viewer)).await.unwrap();

    let noted = async {
        loop {
            let rows = edge.cloud.store.audit_list(None, 1_000).await.unwrap();
            if rows.iter().any(|row| row.resource == resource) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let rows = timeout(LIMIT, noted).await.expect("the read is noted");
    let size = |texts: [&String; 5]| texts.into_iter().map(String::len).sum::<usize>();
    for row in &rows {
        let bytes = size([&row.actor, &row.action, &row.resource, &row.detail, &row.peer]);
        assert!(bytes <= ROW_BYTES, "{bytes} bytes of {}", row.action);
    }
    let reads = rows.iter().filter(|row| row.action == "task.read_output").count();
    assert_eq!(reads, 1, "only what is there is noted");
}
