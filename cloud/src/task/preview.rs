//! What a request would create.

use opslink::task::ExecutionState;

use super::{
    answer::{Created, TaskView},
    submit::{blank, width},
    view::Counts,
};
use crate::{agents::AgentView, store::record::Task};

/// What would be created; nothing is taken.
pub(super) fn of(task: Task, agents: &[AgentView]) -> Created {
    let width = width(task.max_parallel);
    let mut counts = Counts::new();
    let mut executions = Vec::with_capacity(agents.len());
    for (index, view) in agents.iter().enumerate() {
        let mut execution = blank(task.id, view);
        if index < width {
            execution.state = if view.online {
                ExecutionState::Dispatched
            } else {
                ExecutionState::Queued
            };
        }
        *counts.entry(execution.state).or_default() += 1;
        executions.push(execution.into());
    }
    Created {
        task: TaskView {
            task,
            counts,
            finished_at: None,
        },
        executions,
        is_preview: true,
    }
}
