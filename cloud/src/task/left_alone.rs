//! Executions whose changes the store does not take. Each is told once, stands in nobody's way, and is left as it is: until
//! a change of it is written after all, or for a while. Then it is tried once more, for somebody may have mended its row, or
//! what kept the store from it is over.
//!
//! Known in memory: after a restart each is tried, and told, once more.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::id::{AgentId, TaskId};
use tokio::time::Instant;

use super::newest::Newest;
use crate::store::record::Execution;

/// Executions that are known; for one more the one that was tried longest ago is forgotten, and told anew.
const KNOWN_MAX: usize = 10_000;
/// How long one is left alone before it is tried again. Whoever mends a row takes longer than that, and the agent of one that
/// is at work is asked by ending its link.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

type Key = (TaskId, AgentId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeftAlone(Mutex<Known>);

/// Asked at every look into a queue, for one agent or one task: nobody walks through all for it.
#[derive(Debug)]
struct Known {
    /// Of each, when it was tried last.
    tried: Newest<Key, Instant>,
    on_agents: HashMap<AgentId, HashSet<TaskId>>,
    of_tasks: HashMap<TaskId, HashSet<AgentId>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            tried: Newest::of(KNOWN_MAX),
            on_agents: HashMap::new(),
            of_tasks: HashMap::new(),
        }
    }
}

impl Known {
    /// Notes one; false when it is known already.
    fn put(&mut self, key: Key) -> bool {
        let is_new = self.tried.get(key).is_none();
        if let Some((forgotten, _)) = self.tried.put(key, Instant::now()) {
            self.unlist(forgotten);
        }
        let (task, agent) = key;
        self.on_agents.entry(agent).or_default().insert(task);
        self.of_tasks.entry(task).or_default().insert(agent);
        is_new
    }

    fn remove(&mut self, key: Key) {
        if self.tried.remove(key).is_some() {
            self.unlist(key);
        }
    }

    fn unlist(&mut self, (task, agent): Key) {
        take_out(&mut self.on_agents, agent, task);
        take_out(&mut self.of_tasks, task, agent);
    }

    fn holds(&self, key: Key) -> bool {
        self.tried.get(key).is_some_and(|tried| is_held(*tried))
    }
}

/// Takes one out of the set of another, and the set with the last of it.
fn take_out<K: Eq + std::hash::Hash, V: Eq + std::hash::Hash>(sets: &mut HashMap<K, HashSet<V>>, of: K, one: V) {
    if let Some(set) = sets.get_mut(&of) {
        set.remove(&one);
        if set.is_empty() {
            sets.remove(&of);
        }
    }
}

impl LeftAlone {
    /// Notes one that was tried in vain. False when it is known already.
    pub(super) fn note(&self, execution: &Execution) -> bool {
        self.known().put(key(execution))
    }

    /// The store has taken a change of this one.
    pub(super) fn written(&self, execution: &Execution) {
        let mut known = self.known();
        if !known.tried.is_empty() {
            known.remove(key(execution));
        }
    }

    /// Says whether this one is to be left alone.
    pub(super) fn holds(&self, execution: &Execution) -> bool {
        self.known().holds(key(execution))
    }

    /// How many of this agent are left alone: whoever asks for its queue asks for so many more.
    pub(super) fn on_agent(&self, agent: AgentId) -> usize {
        let known = self.known();
        let tasks = known.on_agents.get(&agent).into_iter().flatten();
        tasks.filter(|task| known.holds((**task, agent))).count()
    }

    /// How many of this task are.
    pub(super) fn of_task(&self, task: TaskId) -> usize {
        let known = self.known();
        let agents = known.of_tasks.get(&task).into_iter().flatten();
        agents.filter(|agent| known.holds((task, **agent))).count()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(execution: &Execution) -> Key {
    (execution.task_id, execution.agent_id)
}

fn is_held(tried: Instant) -> bool {
    tried.elapsed() < TRIED_AGAIN_AFTER
}

#[cfg(test)]
mod tests {
    use opslink::task::ExecutionState;

    use super::*;

    fn execution() -> Execution {
        Execution {
            task_id: TaskId::new(),
            agent_id: AgentId::new(),
            agent_name: "web".to_owned(),
            state: ExecutionState::Queued,
            attempt_id: None,
            attempt_number: 0,
            queue_deadline: None,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            outcome: None,
            output_verified: false,
            revision: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_tried_again_after_a_while_and_told_anew_only_after_it_was_written() {
        let execution = execution();
        let left_alone = LeftAlone::default();
        let held = || {
            let counts = [
                left_alone.on_agent(execution.agent_id),
                left_alone.of_task(execution.task_id),
            ];
            (left_alone.holds(&execution), counts)
        };
        assert!(left_alone.note(&execution), "it is told");
        for _ in 0..2 {
            assert_eq!(held(), (true, [1, 1]));
            tokio::time::sleep(TRIED_AGAIN_AFTER).await;
            assert_eq!(held(), (false, [0, 0]), "it is tried");
            assert!(!left_alone.note(&execution), "it is told once");
        }
        left_alone.written(&execution);
        assert_eq!(held(), (false, [0, 0]));
        assert!(left_alone.note(&execution), "it is told anew");
    }

    #[test]
    fn with_one_too_many_the_oldest_is_forgotten_and_no_other() {
        let left_alone = LeftAlone::default();
        let all: Vec<_> = (0..=KNOWN_MAX).map(|_| execution()).collect();
        assert!(all.iter().all(|execution| left_alone.note(execution)));
        assert!(!left_alone.holds(&all[0]) && left_alone.holds(&all[1]) && left_alone.holds(&all[KNOWN_MAX]));
        let counts = |execution: &Execution| {
            (
                left_alone.on_agent(execution.agent_id),
                left_alone.of_task(execution.task_id),
            )
        };
        assert_eq!((counts(&all[0]), counts(&all[1])), ((0, 0), (1, 1)));
        assert!(!left_alone.note(&all[1]), "it is told once");
        all.iter().for_each(|execution| left_alone.written(execution));
        let known = left_alone.known();
        assert!(known.tried.is_empty() && known.on_agents.is_empty() && known.of_tasks.is_empty());
    }
}
