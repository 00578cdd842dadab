//! Stored executions as the machine sees them, and back. Pure.

use opslink::{id::AttemptId, task::ExecutionState};

use super::machine::Life;
use crate::store::record::Execution;

/// What the machine knows of an execution.
pub(crate) fn life_of(execution: &Execution) -> Life {
    Life {
        state: execution.state,
        attempt: execution.attempt_id,
        number: execution.attempt_number,
        queue_deadline: execution.queue_deadline,
        cancel_requested: execution.cancel_requested,
        started_at: execution.started_at,
        finished_at: execution.finished_at,
        outcome: execution.outcome.clone(),
        verified: execution.output_verified,
    }
}

/// The execution with another life.
pub(crate) fn with_life(execution: &Execution, life: Life) -> Execution {
    Execution {
        state: life.state,
        attempt_id: life.attempt,
        attempt_number: life.number,
        queue_deadline: life.queue_deadline,
        cancel_requested: life.cancel_requested,
        started_at: life.started_at,
        finished_at: life.finished_at,
        outcome: life.outcome,
        output_verified: life.verified,
        task_id: execution.task_id,
        agent_id: execution.agent_id,
        agent_name: execution.agent_name.clone(),
        revision: execution.revision,
    }
}

/// Says whether an execution holds a slot of its agent.
const fn is_handed_over(execution: &Execution) -> bool {
    matches!(execution.state, ExecutionState::Dispatched | ExecutionState::Running)
}

/// The attempt of an execution that holds a slot of its agent.
pub(crate) fn handed_over(execution: &Execution) -> Option<AttemptId> {
    execution.attempt_id.filter(|_| is_handed_over(execution))
}
