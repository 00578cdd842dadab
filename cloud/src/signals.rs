//! Signals: what has just become true in the store, told to those who would find it at their next look anyway.
//!
//! Sent from [`crate::task`]: after the commit, when a slot of an agent has become free, and by whoever carries out what
//! an agent's removal makes necessary. Losing one costs time, never truth: every receiver also looks by a timer of its own.
//!
//! ```text
//! WakeAgent           the sweep: marked queues at each tick, every agent that is here in its turn
//! ExecutionChanged    each watch, at its heartbeat
//! CancelRequested     likewise
//! OutputAppended      likewise
//! WorkDue             the worker of its kind, at each tick
//! AgentRevoked        the hold of each stream, every two seconds
//! ```
//! In process today; another replica will be one more receiver.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use opslink::id::{AgentId, TaskId};
use tokio::sync::Notify;

use crate::{
    link::Links,
    store::record::Execution,
    tail::{Item, LiveChunk, Tails},
};

/// Something that became true.
#[derive(Debug, Clone, Copy)]
pub enum Signal<'a> {
    /// Something may wait for this agent, and it may have a free slot.
    WakeAgent(AgentId),
    /// An execution is not as it was.
    ExecutionChanged(&'a Execution),
    /// Somebody asked for the end of a task.
    CancelRequested(TaskId),
    /// Output of a task was stored.
    OutputAppended(TaskId, &'a Arc<LiveChunk>),
    /// There is work of this kind.
    WorkDue(&'a str),
    /// An agent is no longer one.
    AgentRevoked(AgentId),
}

/// Where signals go.
pub trait Signals: Send + Sync + 'static {
    /// Sends one. Never waits.
    fn send(&self, signal: Signal<'_>);
}

/// What signals pass on their way from those who send them to those who receive them: nothing, but in tests, which lose
/// some there.
#[derive(Clone)]
pub struct Between(Arc<Put>);

type Put = dyn Fn(Arc<dyn Signals>) -> Arc<dyn Signals> + Send + Sync;

impl Between {
    /// Puts something in between: it is given the way to the receivers, and returns what the senders see.
    pub fn new(put: impl Fn(Arc<dyn Signals>) -> Arc<dyn Signals> + Send + Sync + 'static) -> Self {
        Self(Arc::new(put))
    }

    pub(crate) fn put(&self, receivers: Arc<dyn Signals>) -> Arc<dyn Signals> {
        (self.0)(receivers)
    }
}

impl Default for Between {
    fn default() -> Self {
        Self::new(|receivers| receivers)
    }
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Between").finish_non_exhaustive()
    }
}

/// Keys that are due, each once; whoever takes them takes all. Bounded by the number of different keys.
#[derive(Debug)]
pub struct Due<K> {
    keys: Mutex<BTreeSet<K>>,
    added: Notify,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self {
            keys: Mutex::new(BTreeSet::new()),
            added: Notify::new(),
        }
    }
}

impl<K: Ord> Due<K> {
    /// Notes that this one is due.
    pub fn add(&self, key: K) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.added.notify_one();
    }

    /// Waits until there are some, and takes them. Cancel safe.
    pub async fn take(&self) -> BTreeSet<K> {
        loop {
            self.added.notified().await;
            let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
            if !keys.is_empty() {
                return keys;
            }
        }
    }
}

/// Those who wait for work, one place a kind.
#[derive(Debug, Default)]
pub struct Told(Mutex<BTreeMap<&'static str, Arc<Notify>>>);

impl Told {
    /// Where the worker of this kind waits.
    pub fn of(&self, kind: &'static str) -> Arc<Notify> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(kind).or_default())
    }

    /// Tells whoever works at this kind. The others would claim for nothing, in a transaction each.
    fn tell(&self, kind: &str) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = all.get(kind) {
            one.notify_one();
        }
    }
}

/// Signals within this process.
pub struct LocalSignals {
    links: Links,
    tails: Tails,
    agents: Arc<Due<AgentId>>,
    work: Arc<Told>,
}

impl LocalSignals {
    /// Connects the receivers of this process.
    pub const fn new(links: Links, tails: Tails, agents: Arc<Due<AgentId>>, work: Arc<Told>) -> Self {
        Self {
            links,
            tails,
            agents,
            work,
        }
    }
}

impl Signals for LocalSignals {
    fn send(&self, signal: Signal<'_>) {
        match signal {
            Signal::WakeAgent(agent) => self.agents.add(agent),
            Signal::ExecutionChanged(execution) => {
                let item = || Item::Execution(Arc::new(execution.clone()));
                self.tails.publish(execution.task_id, item);
            }
            Signal::CancelRequested(task) => self.tails.publish(task, || Item::CancelRequested),
            Signal::OutputAppended(task, chunk) => self.tails.publish(task, || Item::Chunk(Arc::clone(chunk))),
            Signal::WorkDue(kind) => self.work.tell(kind),
            Signal::AgentRevoked(agent) => self.links.remove(agent),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::link::Config;

    #[tokio::test]
    async fn work_wakes_whoever_works_at_its_kind_and_nobody_else() {
        let (links, _inbox) = Links::new(Config::default());
        let told = Arc::new(Told::default());
        let (rollouts, expiry) = (told.of("rollout"), told.of("expiry"));
        let signals = LocalSignals::new(links, Tails::default(), Arc::default(), Arc::clone(&told));
        signals.send(Signal::WorkDue("rollout"));
        signals.send(Signal::WorkDue("of another cloud"));
        assert!(rollouts.notified().now_or_never().is_some());
        assert!(expiry.notified().now_or_never().is_none());
    }
}
