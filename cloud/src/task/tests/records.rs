//! Tasks and executions as they are stored, for tests that put them there behind the engine's back, and their ends.

use opslink::{
    id::{AgentId, TaskId},
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};

use crate::store::record::{Execution, Task};

/// A task of which nobody asks what it does.
pub(super) fn task() -> Task {
    Task {
        id: TaskId::new(),
        spec: bytes::Bytes::new(),
        selector: bytes::Bytes::new(),
        max_parallel: 0,
        max_failures: 0,
        queue_ttl_secs: None,
        created_by: "ann".to_owned(),
        created_at: UnixMicros::now(),
        request_id: None,
        request_hash: Vec::new(),
        reason: String::new(),
        cancel_requested: false,
    }
}

/// An execution of a task that waits for this agent.
pub(super) fn waiting(task: TaskId, agent: AgentId, name: impl Into<String>) -> Execution {
    Execution {
        task_id: task,
        agent_id: agent,
        agent_name: name.into(),
        state: ExecutionState::Queued,
        attempt_id: None,
        attempt_number: 0,
        queue_deadline: None,
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        outcome: None,
        output_verified: false,
        revision: 0,
    }
}

/// The end of an attempt that said nothing.
pub(super) fn ended_as(state: ExecutionState) -> Outcome {
    Outcome {
        state,
        exit_code: Some(0),
        signal: None,
        reason: String::new(),
        message: String::new(),
        streams: Vec::new(),
        started_time_us: 1,
        finished_time_us: 2,
        events: None,
    }
}
