//! Tasks.

use opslink::pb::{self, TaskState};

use super::{
    Answer,
    call::{Messages, call, open},
    request_id,
};
use crate::logic::methods;

/// Creates and starts a task.
pub(crate) async fn create_task(message: pb::CreateTaskRequest) -> Answer<pb::CreateTaskResponse> {
    call(methods::CREATE_TASK, message).await
}

/// One task.
pub(crate) async fn get_task(id: String) -> Answer<Option<pb::Task>> {
    Ok(call(methods::GET_TASK, pb::GetTaskRequest { id }).await?.task)
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
    call(methods::LIST_TASKS, message).await
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
        let page = call(methods::LIST_EXECUTIONS, message).await?;
        executions.extend(page.executions);
        if page.next_page_token.is_empty() {
            return Ok(executions);
        }
        page_token = page.next_page_token;
    }
}

/// A task's states and output, stored first and then live.
pub(crate) async fn watch_task(message: pb::WatchTaskRequest) -> Answer<Messages<pb::WatchTaskResponse>> {
    open(methods::WATCH_TASK, message).await
}

/// Asks for the end of a task, on some agents or (none given) on all.
pub(crate) async fn cancel_task(id: String, agents: Vec<String>) -> Answer<()> {
    let message = pb::CancelTaskRequest {
        id,
        agents,
        reason: String::new(),
    };
    call(methods::CANCEL_TASK, message).await.map(drop)
}

/// Retries what did not succeed, on some agents or (none given) on all.
pub(crate) async fn retry_task(id: String, agents: Vec<String>, include_lost: bool) -> Answer<()> {
    let message = pb::RetryTaskRequest {
        id,
        agents,
        include_lost,
        include_succeeded: false,
        request_id: request_id(),
    };
    call(methods::RETRY_TASK, message).await.map(drop)
}
