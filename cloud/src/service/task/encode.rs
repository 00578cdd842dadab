//! What the engine answers, as it goes over the wire: tasks, executions and their output.

use opslink::{
    convert, pb,
    pb::watch_task_response::Event as Wire,
    problem::Problem,
    reason::Reason,
    task::{ExecutionState, TaskState},
};
use prost::Message;

use crate::{
    store::record::AttemptHead,
    task::answer::{Created, ExecutionView, Page, Piece, Sent, TaskView},
};

/// The wire form of a task.
///
/// # Errors
/// `INTERNAL` when what is stored cannot be read.
pub(crate) fn task(view: TaskView) -> Result<pb::Task, Problem> {
    let corrupt = |error: prost::DecodeError| Problem::new(Reason::Internal).with("detail", error);
    let TaskView {
        task,
        counts,
        finished_at,
    } = view;
    let state = TaskState::derive(&counts);
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    Ok(pb::Task {
        id: task.id.to_string(),
        spec: Some(pb::TaskSpec::decode(task.spec).map_err(corrupt)?),
        selector: Some(pb::Selector::decode(task.selector).map_err(corrupt)?),
        rollout: Some(pb::Rollout {
            max_parallel: task.max_parallel,
            max_failures: task.max_failures,
        }),
        queueing: Some(pb::Queueing {
            enabled: task.queue_ttl_secs.is_some(),
            ttl_secs: task.queue_ttl_secs.unwrap_or(0),
        }),
        state: pb::TaskState::from(state).into(),
        counts: some.map(state_count).collect(),
        created_by: task.created_by,
        created_at: Some(convert::timestamp(task.created_at)),
        finished_at: finished_at.filter(|_| state.is_terminal()).map(convert::timestamp),
        reason: task.reason,
        cancel_requested: task.cancel_requested,
    })
}

fn state_count((state, count): (ExecutionState, u32)) -> pb::StateCount {
    pb::StateCount {
        state: pb::ExecutionState::from(state).into(),
        count,
    }
}

/// The wire form of an execution.
fn execution(view: ExecutionView) -> pb::Execution {
    let ExecutionView { execution, attempts } = view;
    let mut list: Vec<pb::Attempt> = attempts.iter().map(attempt).collect();
    if let Some(newest) = execution.attempt_id {
        // The execution is newer than a list that was read before it.
        let newest = pb::Attempt {
            id: newest.to_string(),
            number: execution.attempt_number,
            state: pb::ExecutionState::from(execution.state).into(),
            created_at: None,
            finished_at: execution.finished_at.map(convert::timestamp),
        };
        match list.iter_mut().find(|known| known.id == newest.id) {
            Some(known) => {
                *known = pb::Attempt {
                    created_at: known.created_at,
                    ..newest
                }
            }
            None => list.push(newest),
        }
    }
    pb::Execution {
        task_id: execution.task_id.to_string(),
        agent_id: execution.agent_id.to_string(),
        agent_name: execution.agent_name,
        state: pb::ExecutionState::from(execution.state).into(),
        attempt_id: execution.attempt_id.map(|id| id.to_string()).unwrap_or_default(),
        attempt_number: execution.attempt_number,
        started_at: execution.started_at.map(convert::timestamp),
        finished_at: execution.finished_at.map(convert::timestamp),
        outcome: execution.outcome.map(Into::into),
        attempts: list,
        output_verified: execution.output_verified,
        revision: execution.revision,
    }
}

fn attempt(attempt: &AttemptHead) -> pb::Attempt {
    pb::Attempt {
        id: attempt.id.to_string(),
        number: attempt.number,
        state: pb::ExecutionState::from(attempt.state).into(),
        created_at: Some(convert::timestamp(attempt.created_at)),
        finished_at: attempt.finished_at.map(convert::timestamp),
    }
}

fn executions_of(views: Vec<ExecutionView>) -> Vec<pb::Execution> {
    views.into_iter().map(execution).collect()
}

/// What was created, or would be: then the ids are empty.
///
/// # Errors
/// As [`task`].
pub(crate) fn created(created: Created) -> Result<pb::CreateTaskResponse, Problem> {
    let mut task = task(created.task)?;
    let mut executions = executions_of(created.executions);
    if created.is_preview {
        task.id.clear();
        executions.iter_mut().for_each(|execution| execution.task_id.clear());
    }
    Ok(pb::CreateTaskResponse {
        task: Some(task),
        executions,
    })
}

/// What was begun again.
///
/// # Errors
/// As [`task`].
pub(crate) fn retried(retried: Created) -> Result<pb::RetryTaskResponse, Problem> {
    Ok(pb::RetryTaskResponse {
        task: Some(task(retried.task)?),
        executions: executions_of(retried.executions),
    })
}

/// A page of tasks. One that cannot be read is told and left out: it hides no other.
pub(crate) fn tasks<K: ToString>(page: Page<TaskView, K>) -> pb::ListTasksResponse {
    let readable = |view: TaskView| {
        let task_id = view.task.id;
        let tell = |problem: &Problem| tracing::error!(%task_id, %problem, "a task is left out of a list");
        task(view).inspect_err(tell).ok()
    };
    pb::ListTasksResponse {
        tasks: page.items.into_iter().filter_map(readable).collect(),
        next_page_token: token(page.next),
    }
}

/// A page of executions.
pub(crate) fn executions<K: ToString>(page: Page<ExecutionView, K>) -> pb::ListExecutionsResponse {
    pb::ListExecutionsResponse {
        executions: executions_of(page.items),
        next_page_token: token(page.next),
    }
}

/// A message of a watch.
///
/// # Errors
/// As [`task`].
pub(crate) fn sent(sent: Sent) -> Result<pb::WatchTaskResponse, Problem> {
    let event = match sent {
        Sent::Task(view) => Wire::Task(task(view)?),
        Sent::Execution(view) => Wire::Execution(execution(view)),
        Sent::Chunk(chunk) => Wire::Chunk(chunk),
        Sent::Events {
            attempt,
            agent_name,
            first_seq,
            events,
        } => Wire::Events(pb::AttemptEvents {
            attempt_id: attempt.to_string(),
            agent_name,
            first_seq,
            events: events.into_iter().map(Into::into).collect(),
        }),
        Sent::Heartbeat(time) => Wire::Heartbeat(pb::Heartbeat {
            time: Some(convert::timestamp(time)),
        }),
    };
    Ok(pb::WatchTaskResponse { event: Some(event) })
}

/// A page of the index of an attempt's output.
pub(crate) fn chunks<K: ToString>(page: Page<pb::LogChunk, K>) -> pb::ListChunksResponse {
    pb::ListChunksResponse {
        chunks: page.items,
        next_page_token: token(page.next),
    }
}

/// A message of stored output.
pub(crate) fn piece(piece: Piece) -> pb::ReadLogResponse {
    pb::ReadLogResponse {
        chunk: Some(piece.chunk),
        events: piece.events.into_iter().map(Into::into).collect(),
    }
}

/// Tokens of these lists are the keys themselves.
fn token<K: ToString>(next: Option<K>) -> String {
    next.map(|key| key.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use opslink::{
        id::{AgentId, AttemptId, TaskId},
        time::UnixMicros,
    };

    use super::*;
    use crate::store::record::{Execution, Task};

    fn view(states: &[ExecutionState]) -> TaskView {
        let mut counts = BTreeMap::new();
        for state in states {
            *counts.entry(*state).or_default() += 1;
        }
        TaskView {
            task: Task {
                id: TaskId::new(),
                spec: Bytes::new(),
                selector: Bytes::new(),
                max_parallel: 1,
                max_failures: 2,
                queue_ttl_secs: None,
                created_by: "ann".into(),
                created_at: UnixMicros(1),
                request_id: None,
                request_hash: Vec::new(),
                reason: String::new(),
                cancel_requested: false,
            },
            counts,
            finished_at: Some(UnixMicros(2)),
        }
    }

    fn on(task: TaskId, attempt: Option<AttemptId>) -> Execution {
        Execution {
            task_id: task,
            agent_id: AgentId::new(),
            agent_name: "web".into(),
            state: ExecutionState::Running,
            attempt_id: attempt,
            attempt_number: 2,
            queue_deadline: None,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            outcome: None,
            output_verified: false,
            revision: 3,
        }
    }

    #[test]
    fn a_task_that_cannot_be_read_fails_its_call_and_hides_no_other_in_a_list() {
        let mut broken = view(&[ExecutionState::Running]);
        broken.task.spec = Bytes::from_static(b"\xff\xff");
        assert_eq!(task(broken).unwrap_err().reason, Reason::Internal);
        let broken = || {
            let mut broken = view(&[ExecutionState::Running]);
            broken.task.selector = Bytes::from_static(b"\xff\xff");
            broken
        };
        assert_eq!(task(broken()).unwrap_err().reason, Reason::Internal);
        let good = view(&[]);
        let id = good.task.id;
        let page = Page {
            items: vec![broken(), good],
            next: Some(id),
        };
        let page = tasks(page);
        assert_eq!((page.tasks.len(), page.tasks[0].id.clone()), (1, id.to_string()));
        assert_eq!(page.next_page_token, id.to_string());
    }

    #[test]
    fn a_task_ends_with_its_last_execution_only() {
        let open = task(view(&[ExecutionState::Running, ExecutionState::Failed])).unwrap();
        assert_eq!((open.state(), open.finished_at), (pb::TaskState::Running, None));
        let ended = task(view(&[ExecutionState::Failed])).unwrap();
        assert!(ended.finished_at.is_some());
    }

    #[test]
    fn a_preview_has_no_ids_and_what_is_stored_has() {
        let answer = |is_preview| {
            let task = view(&[ExecutionState::Running]);
            let executions = vec![on(task.task.id, None).into()];
            created(Created {
                task,
                executions,
                is_preview,
            })
            .unwrap()
        };
        let preview = answer(true);
        assert_eq!(
            (preview.task.unwrap().id, preview.executions[0].task_id.as_str()),
            (String::new(), "")
        );
        assert!(!preview.executions[0].agent_id.is_empty());
        let stored = answer(false);
        assert_eq!(stored.task.unwrap().id, stored.executions[0].task_id);
    }

    #[test]
    fn the_newest_attempt_is_as_the_execution_says() {
        let (task, newest) = (TaskId::new(), AttemptId::new());
        let execution_of = on(task, Some(newest));
        let attempt = |id, number| AttemptHead {
            id,
            agent_id: execution_of.agent_id,
            number,
            state: ExecutionState::Dispatched,
            created_at: UnixMicros(7),
            finished_at: None,
        };
        let older = attempt(AttemptId::new(), 1);
        let unread = execution(ExecutionView {
            execution: execution_of.clone(),
            attempts: vec![older.clone()],
        });
        let numbers: Vec<u32> = unread.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [1, 2]);
        let read = execution(ExecutionView {
            execution: execution_of.clone(),
            attempts: vec![older, attempt(newest, 2)],
        });
        assert_eq!(read.attempts.len(), 2);
        assert_eq!(read.attempts[1].state(), pb::ExecutionState::Running);
        assert!(read.attempts[1].created_at.is_some());
    }
}
