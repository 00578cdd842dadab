//! What is at work right now, in memory, so that the hot path asks no database who an attempt belongs to.
//!
//! Filled by dispatch and by attaching agents, emptied by ends. It is a copy: every change is made in the store
//! against the state that the store has, and what the store answers is what is kept here.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::DashMap;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    task::ExecutionState,
};
use prost::Message;

use crate::store::{
    self,
    record::{Execution, Task},
};

/// What all executions of a task share.
#[derive(Debug)]
pub(crate) struct TaskInfo {
    pub(crate) id: TaskId,
    pub(crate) spec: pb::TaskSpec,
    pub(crate) created_by: String,
    pub(crate) max_parallel: u32,
    pub(crate) max_failures: u32,
    /// Longest wait in the queue.
    pub(crate) queue_ttl: Duration,
    /// Offline agents are waited for.
    pub(crate) queueing: bool,
}

impl TaskInfo {
    /// Longest wait when nobody said anything: for a free slot, or for an agent that went away meanwhile.
    const DEFAULT_TTL: Duration = Duration::from_secs(3_600);

    pub(crate) fn read(task: &Task) -> store::Result<Self> {
        let corrupt = |error: prost::DecodeError| store::Error::Corrupt {
            what: "task spec",
            message: error.to_string(),
        };
        Ok(Self {
            id: task.id,
            spec: pb::TaskSpec::decode(task.spec.clone()).map_err(corrupt)?,
            created_by: task.created_by.clone(),
            max_parallel: task.max_parallel,
            max_failures: task.max_failures,
            queue_ttl: task
                .queue_ttl_secs
                .map_or(Self::DEFAULT_TTL, |secs| Duration::from_secs(secs.into())),
            queueing: task.queue_ttl_secs.is_some(),
        })
    }

    /// Says whether ends of its executions may start or stop others.
    pub(crate) const fn has_rollout(&self) -> bool {
        self.max_parallel > 0 || self.max_failures > 0
    }
}

/// An execution that was handed to its agent and has no end.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) info: Arc<TaskInfo>,
    pub(crate) execution: Execution,
    /// Some of its output is stored, or may be.
    has_output: bool,
}

/// The attempts at work, and the slots of the agents.
#[derive(Debug)]
pub(crate) struct Book {
    slots_max: usize,
    live: DashMap<AttemptId, Live>,
    infos: DashMap<TaskId, Weak<TaskInfo>>,
    agents: DashMap<AgentId, Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    active: HashSet<AttemptId>,
    /// There is more in the store's queue.
    backlog: bool,
    /// A pump is under way; another one was asked for meanwhile.
    pumping: bool,
    again: bool,
}

impl Book {
    pub(crate) fn new(slots_max: usize) -> Self {
        Self {
            slots_max,
            live: DashMap::new(),
            infos: DashMap::new(),
            agents: DashMap::new(),
        }
    }

    pub(crate) fn live(&self, attempt: AttemptId) -> Option<Live> {
        self.live.get(&attempt).map(|entry| entry.value().clone())
    }

    /// Agent and task of an attempt at work.
    pub(crate) fn owner(&self, attempt: AttemptId) -> Option<(AgentId, TaskId)> {
        self.live
            .get(&attempt)
            .map(|entry| (entry.execution.agent_id, entry.execution.task_id))
    }

    /// Keeps what the store says now.
    pub(crate) fn update(&self, info: &Arc<TaskInfo>, execution: &Execution) {
        let Some(attempt) = execution.attempt_id else { return };
        if !matches!(execution.state, ExecutionState::Dispatched | ExecutionState::Running) {
            self.live.remove(&attempt);
            return;
        }
        let live = || Live {
            info: info.clone(),
            execution: execution.clone(),
            has_output: false,
        };
        let mut entry = self.live.entry(attempt).or_insert_with(live);
        if execution.revision > entry.execution.revision {
            *entry = Live {
                has_output: entry.has_output,
                ..live()
            };
        }
    }

    /// Notes that some output of the attempt is stored, or may be.
    pub(crate) fn note_output(&self, attempt: AttemptId) {
        if let Some(mut live) = self.live.get_mut(&attempt) {
            live.has_output = true;
        }
    }

    /// Says whether the attempt is at work and nothing of its output is stored.
    pub(crate) fn has_no_output(&self, attempt: AttemptId) -> bool {
        self.live.get(&attempt).is_some_and(|live| !live.has_output)
    }

    pub(crate) fn info(&self, task: TaskId) -> Option<Arc<TaskInfo>> {
        self.infos.get(&task).and_then(|entry| entry.value().upgrade())
    }

    pub(crate) fn keep_info(&self, info: TaskInfo) -> Arc<TaskInfo> {
        let info = Arc::new(info);
        self.infos.insert(info.id, Arc::downgrade(&info));
        info
    }

    /// Takes a slot of the agent; false when all are taken. An attempt never takes two.
    pub(crate) fn take_slot(&self, agent: AgentId, attempt: AttemptId) -> bool {
        let mut slots = self.agents.entry(agent).or_default();
        if slots.active.len() >= self.slots_max && !slots.active.contains(&attempt) {
            slots.backlog = true;
            return false;
        }
        slots.active.insert(attempt);
        true
    }

    /// Takes a slot, free or not: the attempt is there already.
    pub(crate) fn hold_slot(&self, agent: AgentId, attempt: AttemptId) {
        self.agents.entry(agent).or_default().active.insert(attempt);
    }

    /// Gives a slot back; true when somebody waits for it.
    pub(crate) fn free_slot(&self, agent: AgentId, attempt: AttemptId) -> bool {
        self.agents
            .get_mut(&agent)
            .is_some_and(|mut slots| slots.active.remove(&attempt) && slots.backlog)
    }

    pub(crate) fn has_free_slot(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_none_or(|slots| slots.active.len() < self.slots_max)
    }

    pub(crate) fn set_backlog(&self, agent: AgentId, backlog: bool) {
        self.agents.entry(agent).or_default().backlog = backlog;
    }

    /// Agents with a free slot and something that waits for it: nobody looked, because the store was away.
    pub(crate) fn neglected(&self) -> Vec<AgentId> {
        let waits = |slots: &Slots| slots.backlog && !slots.pumping && slots.active.len() < self.slots_max;
        self.agents
            .iter()
            .filter(|entry| waits(entry.value()))
            .map(|entry| *entry.key())
            .collect()
    }

    /// Begins a pump of the agent's queue; false when one is under way, which will then go round once more.
    pub(crate) fn begin_pump(&self, agent: AgentId) -> bool {
        let mut slots = self.agents.entry(agent).or_default();
        slots.again = slots.pumping;
        !std::mem::replace(&mut slots.pumping, true)
    }

    /// Ends a pump; true when it must go round once more.
    pub(crate) fn end_pump(&self, agent: AgentId) -> bool {
        let mut slots = self.agents.entry(agent).or_default();
        slots.pumping = std::mem::take(&mut slots.again);
        slots.pumping
    }

    /// Forgets the dead entries of the task cache.
    pub(crate) fn sweep(&self) {
        self.infos.retain(|_, info| info.strong_count() > 0);
    }
}
