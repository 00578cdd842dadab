//! All agents, live: one stream per tab, open while a component wants it.

use std::{cell::Cell, collections::BTreeMap, rc::Rc};

use futures::future::AbortHandle;
use leptos::{prelude::*, task::spawn_local};
use opslink::pb::{self, AgentStatus, watch_agents_response::Event};

use crate::api::{self, Next, Sync};

/// The agents and how fresh they are.
#[derive(Clone, Copy)]
pub(crate) struct AgentsLive {
    /// By name.
    pub agents: RwSignal<BTreeMap<String, pb::Agent>>,
    /// Whether the list is live. `Opening` until the first snapshot.
    pub sync: RwSignal<Sync>,
    /// True once a snapshot came.
    pub known: RwSignal<bool>,
    users: RwSignal<usize>,
}

impl AgentsLive {
    /// How many are online, and how many there are.
    pub(crate) fn counts(self) -> (usize, usize) {
        self.agents.with(|agents| {
            let online = agents
                .values()
                .filter(|agent| agent.status() == AgentStatus::Online)
                .count();
            (online, agents.len())
        })
    }
}

/// Makes the shared list.
pub(crate) fn provide() {
    let live = AgentsLive {
        agents: RwSignal::new(BTreeMap::new()),
        sync: RwSignal::new(Sync::Opening),
        known: RwSignal::new(false),
        users: RwSignal::new(0),
    };
    provide_context(live);
    Effect::new(move |running: Option<Option<AbortHandle>>| {
        let running = running.flatten();
        let wanted = live.users.get() > 0;
        match (wanted, running) {
            (true, None) => Some(run(live)),
            (false, Some(handle)) => {
                handle.abort();
                live.sync.set(Sync::Opening);
                None
            }
            (_, running) => running,
        }
    });
}

/// The shared list, kept live while the calling component is shown.
pub(crate) fn use_agents() -> AgentsLive {
    let live: AgentsLive = expect_context();
    live.users.update(|users| *users += 1);
    on_cleanup(move || live.users.update(|users| *users = users.saturating_sub(1)));
    live
}

fn run(live: AgentsLive) -> AbortHandle {
    let (future, handle) = futures::future::abortable(follow(live));
    spawn_local(async move {
        let _ = future.await;
    });
    handle
}

async fn follow(live: AgentsLive) {
    // A name can pass to another agent: keep the way back from ids.
    let names = Rc::new(Cell::new(BTreeMap::<String, String>::new()));
    let seen = move |message: pb::WatchAgentsResponse| {
        let mut by_id = names.take();
        match message.event {
            Some(Event::Snapshot(snapshot)) => {
                let mut agents = BTreeMap::new();
                by_id.clear();
                for agent in snapshot.agents {
                    by_id.insert(agent.id.clone(), agent.name.clone());
                    agents.insert(agent.name.clone(), agent);
                }
                live.agents.set(agents);
                live.known.set(true);
            }
            Some(Event::Changed(agent)) => {
                let before = by_id.insert(agent.id.clone(), agent.name.clone());
                live.agents.update(|agents| {
                    if let Some(before) = before.filter(|before| *before != agent.name) {
                        agents.remove(&before);
                    }
                    agents.insert(agent.name.clone(), agent);
                });
            }
            Some(Event::Removed(id)) => {
                if let Some(name) = by_id.remove(&id) {
                    live.agents.update(|agents| drop(agents.remove(&name)));
                }
            }
            Some(Event::Heartbeat(_)) | None => {}
        }
        names.set(by_id);
        Next::Continue
    };
    api::keep_watching(live.sync, api::watch_agents, seen, || false).await;
}
