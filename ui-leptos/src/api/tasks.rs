//! Tasks.

use opslink::pb::{self, TaskState, task_service_client::TaskServiceClient};
use tonic::Streaming;

use super::{Answer, MAX_MESSAGE, answer, channel, request, request_id};

fn client() -> TaskServiceClient<tonic_web_wasm_client::Client> {
    TaskServiceClient::new(channel()).max_decoding_message_size(MAX_MESSAGE)
}

/// Creates and starts a task.
pub(crate) async fn create_task(message: pb::CreateTaskRequest) -> Answer<pb::CreateTaskResponse> {
    answer(client().create_task(request(message)).await)
}

/// One task.
pub(crate) async fn get_task(id: String) -> Answer<Option<pb::Task>> {
    Ok(answer(client().get_task(request(pb::GetTaskRequest { id })).await)?.task)
}

/// A page of tasks, newest first.
pub(crate) async fn list_tasks(
    page_size: i32,
    page_token: String,
    agent: String,
    states: &[TaskState],
) -> Answer<pb::ListTasksResponse> {
    let states = states.iter().map(|state| i32::from(*state)).collect();
    let message = pb::ListTasksRequest {
        page_size,
        page_token,
        agent,
        states,
    };
    answer(client().list_tasks(request(message)).await)
}

/// All executions of a task.
pub(crate) async fn list_executions(task_id: String) -> Answer<Vec<pb::Execution>> {
    let mut executions = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListExecutionsRequest {
            task_id: task_id.clone(),
            page_size: 10_000,
            page_token,
        };
        let page = answer(client().list_executions(request(message)).await)?;
        executions.extend(page.executions);
        if page.next_page_token.is_empty() {
            return Ok(executions);
        }
        page_token = page.next_page_token;
    }
}

/// A task's states and output, stored first and then live.
pub(crate) async fn watch_task(message: pb::WatchTaskRequest) -> Answer<Streaming<pb::WatchTaskResponse>> {
    answer(client().watch_task(request(message)).await)
}

/// Asks for the end of a task, on some agents or (none given) on all.
pub(crate) async fn cancel_task(id: String, agents: Vec<String>) -> Answer<()> {
    let message = pb::CancelTaskRequest {
        id,
        agents,
        reason: String::new(),
    };
    answer(client().cancel_task(request(message)).await).map(drop)
}

/// Retries what did not succeed, on some agents or (none given) on all.
pub(crate) async fn retry_task(id: String, agents: Vec<String>, include_lost: bool) -> Answer<()> {
    let message = pb::RetryTaskRequest {
        id,
        agents,
        include_lost,
        request_id: request_id(),
    };
    answer(client().retry_task(request(message)).await).map(drop)
}
