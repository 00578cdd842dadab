//! What all executions of a task share, kept in memory for as long as one of them is at work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::DashMap;
use opslink::{id::TaskId, pb, time::UnixMicros};
use prost::Message;

use crate::store::{self, Store, record::Task};

/// Bodies of tasks that are read at once, in bytes.
pub(super) const BODIES_MAX: usize = 8 << 20;
/// How long a task that does not wait for agents may take from its slot to its start. Some redials of an agent.
pub(crate) const START_TTL: Duration = Duration::from_secs(60);

/// Longest wait in a queue when nobody said how long: of a task that waits for agents, and for a free slot in any case.
pub(crate) const QUEUE_TTL_DEFAULT_SECS: u32 = 3_600;

/// What all executions of a task share.
#[derive(Debug, PartialEq)]
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
    /// Of a task: the same at its creation and after a restart.
    ///
    /// # Errors
    /// Its spec cannot be read.
    pub(crate) fn read(task: &Task) -> store::Result<Self> {
        let corrupt = |error: prost::DecodeError| store::Error::Corrupt {
            what: "task spec",
            message: error.to_string(),
        };
        let queue_ttl_secs = task.queue_ttl_secs.unwrap_or(QUEUE_TTL_DEFAULT_SECS);
        Ok(Self {
            id: task.id,
            spec: pb::TaskSpec::decode(task.spec.clone()).map_err(corrupt)?,
            created_by: task.created_by.clone(),
            max_parallel: task.max_parallel,
            max_failures: task.max_failures,
            queue_ttl: Duration::from_secs(queue_ttl_secs.into()),
            queueing: task.queue_ttl_secs.is_some(),
        })
    }

    fn unreadable(id: TaskId) -> Self {
        Self {
            id,
            spec: pb::TaskSpec::default(),
            created_by: String::new(),
            max_parallel: 0,
            max_failures: 0,
            queue_ttl: Duration::from_secs(QUEUE_TTL_DEFAULT_SECS.into()),
            queueing: false,
        }
    }

    /// When an execution that is handed over now must have started at the latest, beside its queue deadline.
    ///
    /// A task that does not wait for agents shall not start long after its author looked away: its agent may vanish
    /// at the moment when it is handed over.
    pub(crate) fn start_by(&self, now: UnixMicros) -> Option<UnixMicros> {
        (!self.queueing).then(|| now.plus(START_TTL))
    }

    /// Says whether ends of its executions may start or stop others.
    pub(crate) const fn has_rollout(&self) -> bool {
        self.max_parallel > 0 || self.max_failures > 0
    }
}

fn unreadable(id: TaskId, error: &store::Error) -> TaskInfo {
    tracing::error!(task_id = %id, %error, "a task cannot be read; what is open of it will be ended");
    TaskInfo::unreadable(id)
}

/// The tasks that somebody needs right now.
#[derive(Debug, Default)]
pub(crate) struct Infos(DashMap<TaskId, Weak<TaskInfo>>);

impl Infos {
    /// Keeps one for as long as somebody holds it.
    pub(crate) fn keep(&self, info: TaskInfo) -> Arc<TaskInfo> {
        let info = Arc::new(info);
        self.0.insert(info.id, Arc::downgrade(&info));
        info
    }

    fn known(&self, task: TaskId) -> Option<Arc<TaskInfo>> {
        self.0.get(&task).and_then(|entry| entry.value().upgrade())
    }

    /// One task, from memory or from the store. One that cannot be read is told and becomes one without a spec: its
    /// executions can still be ended, and an agent refuses it.
    ///
    /// # Errors
    /// Only those that may pass.
    pub(crate) async fn get(&self, store: &Store, task: TaskId) -> store::Result<Arc<TaskInfo>> {
        if let Some(info) = self.known(task) {
            return Ok(info);
        }
        let not_found = || store::Error::NotFound {
            what: "task",
            name: task.to_string(),
        };
        let read = match store.task_get(task).await {
            Ok(stored) => stored.ok_or_else(not_found).and_then(|stored| TaskInfo::read(&stored)),
            Err(error) => Err(error),
        };
        match read {
            Ok(info) => Ok(self.keep(info)),
            Err(error) if error.may_pass() => Err(error),
            Err(error) => Ok(self.keep(unreadable(task, &error))),
        }
    }

    /// Some of these tasks, one at least: those that are known, and as many of the others as may be read at once.
    ///
    /// # Errors
    /// Only those that may pass.
    pub(crate) async fn get_some(
        &self,
        store: &Store,
        tasks: impl Iterator<Item = TaskId>,
    ) -> store::Result<BTreeMap<TaskId, Arc<TaskInfo>>> {
        let tasks: BTreeSet<TaskId> = tasks.collect();
        let known = tasks.iter().filter_map(|task| Some((*task, self.known(*task)?)));
        let mut infos: BTreeMap<_, _> = known.collect();
        let unknown: Vec<TaskId> = tasks.into_iter().filter(|task| !infos.contains_key(task)).collect();
        let Some(first) = unknown.first().copied() else {
            return Ok(infos);
        };
        let bodies = match store.task_bodies(&unknown, BODIES_MAX).await {
            Err(error) if error.may_pass() => return Err(error),
            // One of them cannot be read: by itself, when it is the first.
            answer => answer.unwrap_or_default(),
        };
        if bodies.is_empty() {
            infos.insert(first, self.get(store, first).await?);
        }
        for (id, task) in bodies {
            let info = TaskInfo::read(&task).unwrap_or_else(|error| unreadable(id, &error));
            infos.insert(id, self.keep(info));
        }
        Ok(infos)
    }

    /// Forgets those that nobody holds.
    pub(crate) fn sweep(&self) {
        self.0.retain(|_, info| info.strong_count() > 0);
    }

    /// Bytes of the specs that somebody holds.
    #[cfg(test)]
    pub(super) fn spec_bytes(&self) -> usize {
        let held = self.0.iter().filter_map(|entry| entry.value().upgrade());
        held.map(|info| info.spec.encoded_len()).sum()
    }
}
