//! Connections that have shown something: how many one actor may have, and which must go when there are too many.
//!
//! An actor is who showed something first: a person, a token, an agent. Above a limit the oldest goes that has no open
//! call; without one, of an agent the oldest, whose link the new one replaces, and of all others the one that came last.
//! All that are no agents together have fewer files than there are, so that an agent that was cut always comes back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::activity::Activity;

/// How many connections there may be that have shown something.
#[derive(Debug, Clone, Copy)]
pub struct KnownMost {
    /// Of one person or token.
    pub of_client: usize,
    /// With the certificate of one agent.
    pub of_agent: usize,
    /// Of all persons and tokens.
    pub clients: usize,
}

/// What was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An agent's certificate.
    Agent,
    /// Anything else.
    Client,
}

/// The agent of a certificate that the handshake verified, as an actor.
pub(super) fn agent_of(certificate: &[u8]) -> Option<Arc<str>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    let (_, id) = uri.rsplit_once('/')?;
    Some(format!("agent:{id}").into())
}

/// The known connections of one listener.
#[derive(Debug)]
pub(super) struct Known {
    most: KnownMost,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    agents: HashMap<Arc<str>, Vec<Place>>,
    clients: HashMap<Arc<str>, Vec<Place>>,
    clients_in_all: usize,
}

/// One connection among those of its actor, which are in the order in which they came.
#[derive(Debug)]
struct Place {
    number: u64,
    leave: CancellationToken,
    activity: Arc<Activity>,
}

impl State {
    fn remove(&mut self, kind: Kind, actor: &Arc<str>, number: u64) -> Option<Place> {
        let actors = match kind {
            Kind::Agent => &mut self.agents,
            Kind::Client => &mut self.clients,
        };
        let places = actors.get_mut(actor)?;
        let at = places.iter().position(|place| place.number == number)?;
        let place = places.remove(at);
        if places.is_empty() {
            actors.remove(actor);
        }
        if kind == Kind::Client {
            self.clients_in_all -= 1;
        }
        Some(place)
    }

    /// Sends away who is too many after one more of this actor has come.
    fn make_room(&mut self, kind: Kind, actor: &Arc<str>, most: KnownMost) {
        let (of_actor, limit) = match kind {
            Kind::Agent => (self.agents.get(actor), most.of_agent),
            Kind::Client => (self.clients.get(actor), most.of_client),
        };
        let victim = if of_actor.is_some_and(|places| places.len() > limit) {
            of_actor
                .and_then(|places| who_goes(kind, places))
                .map(|number| (Arc::clone(actor), number))
        } else if kind == Kind::Client && self.clients_in_all > most.clients {
            let greedy = self.clients.iter().max_by_key(|(_, places)| places.len());
            greedy.and_then(|(actor, places)| Some((Arc::clone(actor), who_goes(kind, places)?)))
        } else {
            None
        };
        if let Some((actor, number)) = victim
            && let Some(place) = self.remove(kind, &actor, number)
        {
            tracing::debug!(%actor, "a connection made room for another");
            place.leave.cancel();
        }
    }
}

/// Which of these makes room. The newest is no idle one, though its first call may still be on its way.
fn who_goes(kind: Kind, places: &[Place]) -> Option<u64> {
    let (newest, older) = places.split_last()?;
    let idle = older.iter().find(|place| place.activity.quiet_since().is_some());
    let busy = match kind {
        Kind::Agent => older.first().unwrap_or(newest),
        Kind::Client => newest,
    };
    Some(idle.unwrap_or(busy).number)
}

impl Known {
    pub(super) fn new(most: KnownMost) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
        })
    }

    /// Counts a connection among those of this actor until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, kind: Kind, actor: Arc<str>, activity: &Arc<Activity>) -> Member {
        let leave = CancellationToken::new();
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let place = Place {
            number,
            leave: leave.clone(),
            activity: Arc::clone(activity),
        };
        match kind {
            Kind::Agent => state.agents.entry(Arc::clone(&actor)).or_default().push(place),
            Kind::Client => {
                state.clients.entry(Arc::clone(&actor)).or_default().push(place);
                state.clients_in_all += 1;
            }
        }
        state.make_room(kind, &actor, self.most);
        drop(state);
        Member {
            known: Arc::clone(self),
            kind,
            actor,
            number,
            leave,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A known connection; dropping it makes room for the next one.
#[derive(Debug)]
pub(super) struct Member {
    known: Arc<Known>,
    kind: Kind,
    actor: Arc<str>,
    number: u64,
    leave: CancellationToken,
}

impl Member {
    /// Waits until this connection has to make room for another one.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.known.lock().remove(self.kind, &self.actor, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: KnownMost = KnownMost {
        of_client: 3,
        of_agent: 2,
        clients: 5,
    };

    fn away(members: &[Member]) -> Vec<usize> {
        let away = members.iter().enumerate();
        away.filter(|(_, member)| member.leave.is_cancelled())
            .map(|(place, _)| place)
            .collect()
    }

    #[test]
    fn above_its_number_an_actor_loses_the_oldest_that_does_nothing() {
        let known = Known::new(FEW);
        let busy = Activity::new();
        let _call = busy.begin();
        let enter = |activity: &Arc<Activity>| known.enter(Kind::Client, "token:a".into(), activity);
        let mut members = vec![enter(&busy), enter(&Activity::new()), enter(&busy)];
        assert!(away(&members).is_empty());
        members.push(enter(&busy));
        assert_eq!(away(&members), [1]);
        // All are at work: the one that came last goes, and its call may end.
        members.push(enter(&busy));
        assert_eq!(away(&members), [1, 4]);
        drop(members);
        let state = known.lock();
        assert!(state.clients.is_empty() && state.clients_in_all == 0);
    }

    #[test]
    fn a_new_link_of_an_agent_outlives_its_old_one() {
        let known = Known::new(FEW);
        let busy = Activity::new();
        let _call = busy.begin();
        let enter = |activity: &Arc<Activity>| known.enter(Kind::Agent, "agent:a".into(), activity);
        let members = [enter(&busy), enter(&busy), enter(&Activity::new())];
        assert_eq!(away(&members), [0]);
        drop(members);
        assert!(known.lock().agents.is_empty());
    }

    #[test]
    fn the_actor_that_has_the_most_makes_room_for_all_and_agents_are_not_counted() {
        let known = Known::new(FEW);
        let idle = Activity::new();
        let client = |actor: &str| known.enter(Kind::Client, actor.into(), &idle);
        let greedy = vec![client("token:a"), client("token:a"), client("token:a")];
        let others = [client("b"), client("c"), client("d")];
        assert_eq!((away(&greedy), away(&others)), (vec![0], vec![]));
        let agents: Vec<Member> = (0..100)
            .map(|n| known.enter(Kind::Agent, format!("agent:{n}").into(), &idle))
            .collect();
        assert!(away(&agents).is_empty() && away(&others).is_empty());
    }
}
