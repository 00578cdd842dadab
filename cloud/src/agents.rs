//! The living agents, in memory: what selectors, dispatch and the agent pages read.
//!
//! The store is the truth for names, labels and facts; whoever changes it there tells the [`Directory`]. Whether an
//! agent is online is known here only: it is true while its link is up in this process. Readers get `Arc`s; 10,000
//! agents cost one list of pointers a reading.

mod start;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use opslink::{convert, id::AgentId, pb, selector::Selector, time::UnixMicros};
use prost::Message;
use tokio::sync::{Mutex, MutexGuard, broadcast};

use crate::{
    blocking::off_thread,
    seats::Seats,
    store::{self, Store, record::Agent},
};

/// Changes that a slow subscriber may be behind before it is told to start over with [`Directory::ids`]. A change is the
/// id of an agent, and all are less than 1 MiB with their places; 10,000 agents coming back at once must fit.
const CHANGES: usize = 16_384;

/// Names times agents up to which matching is done at once: some milliseconds.
const TRIES_INLINE: usize = 100_000;
/// Larger matchings of one actor at the same time.
const MATCHINGS_OF_ONE: usize = 1;
/// Larger matchings of all actors at the same time: each has a thread, and a processor while it lasts.
const MATCHINGS_IN_ALL: usize = 4;

/// Between two questions to a store that does not answer.
const REREAD_EVERY: Duration = Duration::from_secs(1);

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

/// The living agents. Cheap to clone; every clone is the same directory.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    /// Who is not as before. Whoever hears of it looks here when it has a use for it: a subscriber that is behind keeps no
    /// agent in memory, and is told how it is now and not how it was.
    changes: broadcast::Sender<AgentId>,
    one_change: Mutex<()>,
    /// Whose larger matching is going on: the others wait without a thread.
    matchings: Seats,
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
            one_change: Mutex::default(),
            matchings: Seats::within(MATCHINGS_OF_ONE, MATCHINGS_IN_ALL),
        }))
    }
}

impl Directory {
    /// Reads the living agents from the store; all are offline until their links come up. One that cannot be read is told
    /// by the store and is not among them: it is kept out, as a removed one is, until its row can be read. One whose last
    /// sign of life cannot be read was seen now.
    ///
    /// # Errors
    /// What the store says; [`store::Error::Corrupt`] when a page of the agents themselves cannot be read.
    pub async fn load(store: Store) -> Result<Self, store::Error> {
        let directory = Self::default();
        for agent in start::living(&store).await? {
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

    /// The ids of all agents, in name order.
    pub fn ids(&self) -> Vec<AgentId> {
        self.read().by_name.values().copied().collect()
    }

    /// Number of agents.
    pub(crate) fn size(&self) -> usize {
        self.read().by_id.len()
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

    /// The agents that a selector of this actor means, in name order.
    pub async fn select(&self, actor: &str, selector: Selector) -> Vec<AgentView> {
        let cost = selector.cost();
        let is_meant = move |view: &AgentView| selector.matches(&view.agent.name, view.agent.id, &view.agent.labels);
        self.matching(actor, cost, is_meant).await
    }

    /// The agents of which this is true, which takes so many tries for each.
    ///
    /// Matching is done outside of the lock, and on another thread when it is much: 10,000 globs on 10,000 agents are
    /// 100 million tries. Of that each actor has one, and stands behind itself.
    async fn matching(
        &self,
        actor: &str,
        cost: usize,
        is_meant: impl Fn(&AgentView) -> bool + Send + 'static,
    ) -> Vec<AgentView> {
        let mut views = self.list();
        let tries = views.len().saturating_mul(cost);
        let matching = move || {
            views.retain(is_meant);
            views
        };
        if tries <= TRIES_INLINE {
            return matching();
        }
        let seat = self.0.matchings.of(actor).await;
        // Taken along: the work goes on to its end, also when its caller goes away.
        let seated = move || {
            let meant = matching();
            drop(seat);
            meant
        };
        off_thread(seated).await.unwrap_or_default()
    }

    /// Waits for the right to make a change in the store and then here, so that both see the same order of changes.
    pub async fn one_change(&self) -> MutexGuard<'_, ()> {
        self.0.one_change.lock().await
    }

    /// Changes what is known of an agent; false when it is not (any more) one of the living. Told only when somebody who
    /// looks at agents would see it.
    pub fn change(&self, id: AgentId, change: impl FnOnce(&mut Agent)) -> bool {
        let mut state = self.write();
        let Some(view) = state.by_id.get_mut(&id) else {
            return false;
        };
        let mut agent = (*view.agent).clone();
        change(&mut agent);
        let is_news = !looks_alike(&view.agent, &agent);
        view.last_seen_at = view.last_seen_at.max(agent.last_seen_at);
        view.agent = Arc::new(agent);
        if is_news {
            self.tell(id);
        }
        true
    }

    /// Adds an agent, or replaces what is known of it. Whether it is online stays as it is.
    ///
    /// Only for one that just joined or was just read: what happens to an agent later goes through [`Self::change`],
    /// which leaves removed ones removed.
    pub fn upsert(&self, agent: Agent) {
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
        let id = view.agent.id;
        state.by_name.insert(view.agent.name.clone(), id);
        state.by_id.insert(id, view);
        self.tell(id);
    }

    /// Makes what is known of an agent what the store says, after a change whose answer was lost; returns it when it is one
    /// of the living. When the store does not answer now it is asked until it does, and nothing is returned.
    pub(crate) async fn refresh(&self, store: &Store, id: AgentId) -> Option<Agent> {
        match self.reread(store, id).await {
            Ok(agent) => agent,
            Err(_) => {
                let (directory, store) = (self.clone(), store.clone());
                // Ends when the store answers.
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(REREAD_EVERY).await;
                        let _one = directory.one_change().await;
                        if directory.reread(&store, id).await.is_ok() {
                            return;
                        }
                    }
                });
                None
            }
        }
    }

    async fn reread(&self, store: &Store, id: AgentId) -> Result<Option<Agent>, store::Error> {
        let agent = store.agent_get(id).await?.filter(|agent| !agent.removed);
        match &agent {
            Some(agent) => self.upsert(agent.clone()),
            None => self.remove(id),
        }
        Ok(agent)
    }

    /// Forgets an agent.
    pub fn remove(&self, id: AgentId) {
        let mut state = self.write();
        let Some(before) = state.by_id.remove(&id) else { return };
        state.by_name.remove(&before.agent.name);
        self.tell(id);
    }

    /// Notes that a link came up or went down; it was seen then, however long the link had been silent before its end. So
    /// an agent that is offline was seen last when it went away: that is what says how long it has been away, and whether
    /// what waits for it has waited for too long (`was_away` in `task/attach.rs`).
    pub fn set_online(&self, id: AgentId, online: bool) {
        let mut state = self.write();
        let Some(view) = state.by_id.get_mut(&id) else { return };
        if view.online == online {
            return;
        }
        view.online = online;
        view.last_seen_at = view.last_seen_at.max(Some(UnixMicros::now()));
        self.tell(id);
    }

    /// Notes a sign of life; not worth telling.
    pub fn set_seen(&self, id: AgentId, time: UnixMicros) {
        if let Some(view) = self.write().by_id.get_mut(&id) {
            view.last_seen_at = view.last_seen_at.max(Some(time));
        }
    }

    /// Lets an agent have been away for longer than it was.
    #[cfg(test)]
    pub(crate) fn backdate(&self, id: AgentId, by: std::time::Duration) {
        if let Some(view) = self.write().by_id.get_mut(&id) {
            view.last_seen_at = view.last_seen_at.map(|time| UnixMicros(time.0 - by.as_micros() as i64));
        }
    }

    /// Tells of every change from now on: the id of the agent that is new, not as before, or gone for good; which of them,
    /// [`Self::get`] says. A subscriber that lags starts over with [`Self::ids`].
    pub fn subscribe(&self) -> broadcast::Receiver<AgentId> {
        self.0.changes.subscribe()
    }

    /// Called while the lock is held, so that changes are told in the order in which they were made. Never waits.
    fn tell(&self, id: AgentId) {
        // An error means that nobody listens, which is fine.
        let _ = self.0.changes.send(id);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether two states of an agent are the same for whoever looks at it: an agent that says of itself what it has
/// said before, or comes by another link, is no news.
fn looks_alike(before: &Agent, after: &Agent) -> bool {
    let Agent {
        id: _,
        name,
        labels,
        facts,
        connections,
        enrolled_at,
        last_seen_at: _,
        session_epoch: _,
        removed: _,
    } = before;
    (name, labels, enrolled_at) == (&after.name, &after.labels, &after.enrolled_at)
        && (facts, connections) == (&after.facts, &after.connections)
}

#[cfg(test)]
mod tests;
