//! Executions whose changes the store does not take, however often they are tried. Each is told once, stands in
//! nobody's way, and is left as it is.
//!
//! Known in memory: after a restart each is tried, and told, once more.

use dashmap::DashSet;
use opslink::id::{AgentId, TaskId};

use crate::store::record::Execution;

/// Executions that are known; with more, all are told anew.
const KNOWN_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeftAlone(DashSet<(TaskId, AgentId)>);

impl LeftAlone {
    /// Notes one. False when it is known already.
    pub(super) fn note(&self, execution: &Execution) -> bool {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert((execution.task_id, execution.agent_id))
    }

    /// Says whether this is one of them.
    pub(super) fn holds(&self, execution: &Execution) -> bool {
        !self.0.is_empty() && self.0.contains(&(execution.task_id, execution.agent_id))
    }

    /// How many there are of this agent: whoever asks for its queue asks for so many more.
    pub(super) fn on_agent(&self, agent: AgentId) -> usize {
        self.count(|(_, on)| *on == agent)
    }

    /// How many there are of this task.
    pub(super) fn of_task(&self, task: TaskId) -> usize {
        self.count(|(of, _)| *of == task)
    }

    fn count(&self, is_meant: impl Fn(&(TaskId, AgentId)) -> bool) -> usize {
        self.0.iter().filter(|entry| is_meant(entry.key())).count()
    }
}
