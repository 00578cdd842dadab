//! The living agents, in memory: what selectors, dispatch and the agent pages read.
//!
//! The store is the truth for names, labels and facts; whoever changes it there tells the [`Directory`]. Whether an
//! agent is online is known here only: it is true while its link is up in this process. Readers get `Arc`s; 10,000
//! agents cost one list of pointers a reading.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use opslink::{convert, id::AgentId, pb, selector::Selector, time::UnixMicros};
use prost::Message;
use tokio::sync::broadcast;

use crate::store::{self, Store, record::Agent};

/// Changes that a slow subscriber may be behind before it is told to start over with [`Directory::list`]. A change is
/// two words; 10,000 agents coming back at once must fit.
const CHANGES: usize = 16_384;

/// One living agent as of now.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// As stored.
    pub agent: Arc<Agent>,
    /// It holds a link.
    pub online: bool,
    /// Last sign of life; newer than the stored one.
    pub last_seen_at: Option<UnixMicros>,
}

impl AgentView {
    /// Returns the wire form.
    pub fn to_pb(&self) -> pb::Agent {
        let status = if self.online {
            pb::AgentStatus::Online
        } else {
            pb::AgentStatus::Offline
        };
        pb::Agent {
            id: self.agent.id.to_string(),
            name: self.agent.name.clone(),
            labels: self
                .agent
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            facts: if self.agent.facts.is_empty() {
                None
            } else {
                Some(self.facts())
            },
            status: status.into(),
            enrolled_at: Some(convert::timestamp(self.agent.enrolled_at)),
            last_seen_at: self.last_seen_at.map(convert::timestamp),
            connections: self
                .agent
                .connections
                .iter()
                .map(|(name, kind, is_default)| pb::Connection {
                    name: name.clone(),
                    kind: kind.clone(),
                    is_default: *is_default,
                })
                .collect(),
        }
    }

    /// Returns what the agent says about itself; empty when it never said anything readable.
    pub fn facts(&self) -> pb::Facts {
        pb::Facts::decode(self.agent.facts.clone()).unwrap_or_default()
    }

    /// Says whether the agent has this executor; true while it has never reported, so that it can be waited for.
    pub fn has_capability(&self, kind: &str) -> bool {
        self.agent.facts.is_empty() || self.facts().capabilities.iter().any(|capability| capability == kind)
    }
}

/// What happened to an agent.
#[derive(Debug, Clone)]
pub enum Change {
    /// New, or not as before.
    Upserted(AgentView),
    /// Gone for good.
    Removed(AgentId),
}

/// The living agents. Cheap to clone; every clone is the same directory.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct State {
    by_id: HashMap<AgentId, AgentView>,
    by_name: BTreeMap<String, AgentId>,
}

impl Default for Directory {
    fn default() -> Self {
        Self(Arc::new(Inner {
            state: RwLock::default(),
            changes: broadcast::Sender::new(CHANGES),
        }))
    }
}

impl Directory {
    /// Reads the living agents from the store; all are offline until their links come up.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, store::Error> {
        let directory = Self::default();
        for agent in store.agent_list().await? {
            directory.upsert(agent);
        }
        Ok(directory)
    }

    /// All agents in name order.
    pub fn list(&self) -> Vec<AgentView> {
        let state = self.read();
        state
            .by_name
            .values()
            .filter_map(|id| state.by_id.get(id))
            .cloned()
            .collect()
    }

    /// Number of agents, and how many of them are online.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.read();
        (
            state.by_id.len(),
            state.by_id.values().filter(|view| view.online).count(),
        )
    }

    /// Finds an agent by its id or by its name.
    pub fn find(&self, id_or_name: &str) -> Option<AgentView> {
        let state = self.read();
        let id = match state.by_name.get(id_or_name) {
            Some(id) => *id,
            None => id_or_name.parse().ok()?,
        };
        state.by_id.get(&id).cloned()
    }

    /// Finds an agent by its id.
    pub fn get(&self, id: AgentId) -> Option<AgentView> {
        self.read().by_id.get(&id).cloned()
    }

    /// The agents that a selector means, in name order.
    pub fn select(&self, selector: &Selector) -> Vec<AgentView> {
        let state = self.read();
        let views = state.by_name.values().filter_map(|id| state.by_id.get(id));
        views
            .filter(|view| selector.matches(&view.agent.name, view.agent.id, &view.agent.labels))
            .cloned()
            .collect()
    }

    /// Adds an agent, or replaces what is known of it. Whether it is online stays as it is.
    pub fn upsert(&self, agent: Agent) {
        let view = {
            let mut state = self.write();
            let before = state.by_id.remove(&agent.id);
            if let Some(before) = &before {
                state.by_name.remove(&before.agent.name);
            }
            let view = AgentView {
                online: before.as_ref().is_some_and(|before| before.online),
                last_seen_at: before.and_then(|before| before.last_seen_at).max(agent.last_seen_at),
                agent: Arc::new(agent),
            };
            state.by_name.insert(view.agent.name.clone(), view.agent.id);
            state.by_id.insert(view.agent.id, view.clone());
            view
        };
        self.tell(Change::Upserted(view));
    }

    /// Forgets an agent.
    pub fn remove(&self, id: AgentId) {
        {
            let mut state = self.write();
            let Some(before) = state.by_id.remove(&id) else { return };
            state.by_name.remove(&before.agent.name);
        }
        self.tell(Change::Removed(id));
    }

    /// Notes that a link came up or went down.
    pub fn set_online(&self, id: AgentId, online: bool) {
        let view = {
            let mut state = self.write();
            let Some(view) = state.by_id.get_mut(&id) else { return };
            if view.online == online {
                return;
            }
            view.online = online;
            view.last_seen_at = view.last_seen_at.max(Some(UnixMicros::now()));
            view.clone()
        };
        self.tell(Change::Upserted(view));
    }

    /// Notes a sign of life; not worth a [`Change`].
    pub fn set_seen(&self, id: AgentId, time: UnixMicros) {
        if let Some(view) = self.write().by_id.get_mut(&id) {
            view.last_seen_at = view.last_seen_at.max(Some(time));
        }
    }

    /// Tells of every change from now on. A subscriber that lags starts over with [`Self::list`].
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    fn tell(&self, change: Change) {
        // An error means that nobody listens, which is fine.
        let _ = self.0.changes.send(change);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> Agent {
        Agent {
            id: AgentId::new(),
            name: name.into(),
            labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
            facts: bytes::Bytes::new(),
            connections: Vec::new(),
            enrolled_at: UnixMicros(1),
            last_seen_at: None,
            session_epoch: 0,
            removed: false,
        }
    }

    #[test]
    fn agents_are_found_by_id_and_by_name_and_listed_by_name() {
        let directory = Directory::default();
        let (b, a) = (agent("b"), agent("a"));
        directory.upsert(b.clone());
        directory.upsert(a.clone());
        assert_eq!(directory.find("b").unwrap().agent.id, b.id);
        assert_eq!(directory.find(&a.id.to_string()).unwrap().agent.name, "a");
        assert!(directory.find("c").is_none());
        let names: Vec<_> = directory.list().iter().map(|view| view.agent.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_new_name_replaces_the_old_one_and_keeps_online() {
        let directory = Directory::default();
        let mut one = agent("old");
        directory.upsert(one.clone());
        directory.set_online(one.id, true);
        one.name = "new".into();
        directory.upsert(one.clone());
        assert!(directory.find("old").is_none());
        assert!(directory.find("new").unwrap().online);
        assert_eq!(directory.counts(), (1, 1));
    }

    #[test]
    fn changes_are_told_once_each() {
        let directory = Directory::default();
        let mut changes = directory.subscribe();
        let one = agent("a");
        directory.upsert(one.clone());
        directory.set_online(one.id, true);
        directory.set_online(one.id, true);
        directory.remove(one.id);
        directory.remove(one.id);
        assert!(matches!(changes.try_recv().unwrap(), Change::Upserted(view) if !view.online));
        assert!(matches!(changes.try_recv().unwrap(), Change::Upserted(view) if view.online));
        assert!(matches!(changes.try_recv().unwrap(), Change::Removed(id) if id == one.id));
        assert!(changes.try_recv().is_err());
    }
}
