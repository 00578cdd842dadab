//! Where connections wait that have not shown anything yet, and which of them must go when there are too many.
//!
//! ```text
//! silent ──► greeting ──► handshake ──► stranger ──► gone from here: it showed an agent's certificate, a session
//!   no byte    in line      in a slot     TLS is up    or a token
//! ```
//!
//! A connection that says nothing costs a file descriptor and no place in any queue: the handshake's slots are for those
//! that have begun one. Each stage but the handshake has a limit per source address and one in all. Who goes when there
//! are too many is of the source that has too many, or of the network that has the most of the stage: never of one that
//! has no more than its share. Of that network goes
//!
//! - in silence the oldest: an honest client says something within milliseconds, so the oldest is the one that came to
//!   stay, and who shares its address with a flood gets in all the same;
//! - in line the newest: it is refused at the door. Would one that waits for long make room, a flood would only take its
//!   own places again and again, and each time a slot with them;
//! - in a slot nobody: about those the `slots` decide;
//! - of strangers the oldest of those without an open call, while they are no fewer than those that have one, else the
//!   oldest of these. So a flood that asks for nothing ends no call, and one of calls keeps nobody out who is about to ask.

use std::{
    collections::HashMap,
    iter,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    activity::Activity,
    crowd::{Crowd, First, Source},
    limits::{Most, Places},
    slots::{Complete, Held, Slots},
};

/// A silent connection this young may be one whose bytes were not looked at yet; up to twice the limit it stays.
const YOUNG: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Silent,
    Greeting,
    Handshake,
    Stranger,
}

/// The waiting room of one listener.
#[derive(Debug)]
pub(super) struct Lobby {
    places: Places,
    slots: Arc<Slots>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    guests: HashMap<u64, Place>,
    stages: Stages,
    lines: HashMap<Source, Line>,
}

/// Where a guest is.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: Source,
    stage: Stage,
    /// Among those of its stage, which are in the order in which they came to it.
    number: u64,
}

/// Where the handshakes of one source wait for each other.
#[derive(Debug, Clone, Default)]
struct Line {
    /// One of them asks for a slot.
    front: Arc<tokio::sync::Mutex<()>>,
    given_back: Arc<Notify>,
}

#[derive(Debug)]
struct Stages {
    silent: Crowd<Waiting>,
    greeting: Crowd<Waiting>,
    handshake: Crowd<Waiting>,
    strangers: Crowd<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    guest: u64,
    since: Instant,
    leave: CancellationToken,
    /// Of a stranger that is being served.
    activity: Option<Arc<Activity>>,
}

impl Waiting {
    fn has_open_call(&self) -> bool {
        let activity = self.activity.as_ref();
        activity.is_some_and(|activity| activity.quiet_since().is_none())
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            silent: Crowd::new(First::Oldest),
            greeting: Crowd::new(First::Newest),
            handshake: Crowd::new(First::Oldest),
            strangers: Crowd::new(First::Oldest),
        }
    }
}

impl Stages {
    fn of(&self, stage: Stage) -> &Crowd<Waiting> {
        match stage {
            Stage::Silent => &self.silent,
            Stage::Greeting => &self.greeting,
            Stage::Handshake => &self.handshake,
            Stage::Stranger => &self.strangers,
        }
    }

    fn of_mut(&mut self, stage: Stage) -> &mut Crowd<Waiting> {
        match stage {
            Stage::Silent => &mut self.silent,
            Stage::Greeting => &mut self.greeting,
            Stage::Handshake => &mut self.handshake,
            Stage::Stranger => &mut self.strangers,
        }
    }

    fn have(&self, source: Source) -> bool {
        let mut all = [&self.silent, &self.greeting, &self.handshake, &self.strangers].into_iter();
        all.any(|crowd| crowd.count(source) > 0)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn insert(&mut self, source: Source, stage: Stage, waiting: Waiting) {
        let number = self.number();
        let place = Place { source, stage, number };
        self.guests.insert(waiting.guest, place);
        self.stages.of_mut(stage).insert(source, number, waiting);
    }

    fn remove(&mut self, guest: u64) -> Option<Waiting> {
        let Place { source, stage, number } = self.guests.remove(&guest)?;
        self.stages.of_mut(stage).remove(source, number)
    }

    /// A guest goes for good; nothing when it went already.
    fn let_go(&mut self, guest: u64) -> Option<Waiting> {
        let source = self.guests.get(&guest)?.source;
        let waiting = self.remove(guest);
        if !self.stages.have(source) {
            self.lines.remove(&source);
        }
        waiting
    }

    /// Sends away who is too many in this stage after one more of this source has come to it.
    fn make_room(&mut self, stage: Stage, source: Source, most: Most) {
        let crowd = self.stages.of(stage);
        let of_source = too_many(stage, crowd.count(source), most.per_source, || {
            who_goes(stage, crowd, iter::once(source))
        });
        let goes = of_source.or_else(|| {
            too_many(stage, crowd.here(), most.in_all, || {
                who_goes(stage, crowd, crowd.heaviest())
            })
        });
        if let Some(guest) = goes
            && let Some(waiting) = self.let_go(guest)
        {
            tracing::debug!(?stage, "a connection that showed nothing made room for another");
            waiting.leave.cancel();
        }
    }
}

/// The guest that is too many, when there are more than the limit.
fn too_many<'a>(stage: Stage, count: usize, limit: usize, who: impl FnOnce() -> Option<&'a Waiting>) -> Option<u64> {
    if count <= limit {
        return None;
    }
    let goes = who()?;
    let is_young = stage == Stage::Silent && goes.since.elapsed() < YOUNG;
    (!is_young || count > 2 * limit).then_some(goes.guest)
}

/// Who of these networks goes, which have the most of a stage, first the one with whom to begin.
fn who_goes(stage: Stage, crowd: &Crowd<Waiting>, mut networks: impl Iterator<Item = Source>) -> Option<&Waiting> {
    match stage {
        Stage::Silent => crowd.of(networks.next()?).next().map(|(_, waiting)| waiting),
        Stage::Greeting => crowd.of(networks.next()?).next_back().map(|(_, waiting)| waiting),
        Stage::Handshake => None,
        // There are few of them in all, so several networks that have as many are looked at like one.
        Stage::Stranger => {
            let strangers = networks.flat_map(move |network| crowd.of(network));
            let (busy, quiet): (Vec<_>, Vec<_>) = strangers.partition(|(_, waiting)| waiting.has_open_call());
            let pay = if quiet.len() >= busy.len() { quiet } else { busy };
            let oldest = pay.into_iter().min_by_key(|(number, _)| *number);
            oldest.map(|(_, waiting)| waiting)
        }
    }
}

impl Lobby {
    pub(super) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self {
            places,
            slots: Slots::new(places.slots, places.handshakes),
            state: Mutex::default(),
        })
    }

    /// Lets a connection wait.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr, stage: Stage) -> Guest {
        let source = Source::of(address);
        let leave = CancellationToken::new();
        let mut state = self.lock();
        let number = state.number();
        let waiting = Waiting {
            guest: number,
            since: Instant::now(),
            leave: leave.clone(),
            activity: None,
        };
        state.insert(source, stage, waiting);
        state.make_room(stage, source, self.most(stage));
        drop(state);
        Guest {
            lobby: Arc::clone(self),
            number,
            source,
            leave,
            handshake: None,
        }
    }

    fn most(&self, stage: Stage) -> Most {
        match stage {
            Stage::Silent => self.places.silent,
            Stage::Greeting => self.places.greeting,
            Stage::Handshake => self.places.slots,
            Stage::Stranger => self.places.strangers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the lobby; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    number: u64,
    source: Source,
    leave: CancellationToken,
    /// The one that is behind it.
    handshake: Option<Complete>,
}

impl Guest {
    /// Waits until this connection has to make room for others.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }

    /// Goes on to the next stage.
    pub(super) fn advance(&self, stage: Stage) {
        let mut state = self.lobby.lock();
        // Who was sent away meanwhile stays away.
        if let Some(waiting) = state.remove(self.number) {
            let waiting = Waiting {
                since: Instant::now(),
                ..waiting
            };
            state.insert(self.source, stage, waiting);
            state.make_room(stage, self.source, self.lobby.most(stage));
        }
    }

    /// Waits for a slot, behind others of the same source only. Whoever has one is sent away by it alone; `None` for who
    /// was sent away before.
    pub(super) async fn slot(&self) -> Option<Held> {
        let line = {
            let mut state = self.lobby.lock();
            // It would be left behind.
            state.guests.get(&self.number)?;
            state.lines.entry(self.source).or_default().clone()
        };
        let _front = line.front.lock().await;
        let held = self.lobby.slots.take(self.source, &line.given_back).await;
        self.advance(Stage::Handshake);
        Some(held)
    }

    /// Its handshake is complete, and showed nothing yet.
    pub(super) fn is_stranger(&mut self, handshake: Complete) {
        self.handshake = Some(handshake);
        self.advance(Stage::Stranger);
    }

    /// It is being served, and this tells whether it has an open call.
    pub(super) fn is_served(&self, activity: &Arc<Activity>) {
        let mut state = self.lobby.lock();
        let Some(Place { source, stage, number }) = state.guests.get(&self.number).copied() else {
            return;
        };
        if let Some(waiting) = state.stages.of_mut(stage).get_mut(source, number) {
            waiting.activity = Some(Arc::clone(activity));
        }
    }

    /// It has shown something, and is nobody's guest any more.
    pub(super) fn into_known(mut self) {
        if let Some(handshake) = self.handshake.take() {
            handshake.into_known();
        }
    }

    /// How long a handshake may last while others of its source wait for a slot: the more wait, the shorter. For
    /// those of other sources it is sent away when it must.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        let state = self.lobby.lock();
        let of_source = state.stages.greeting.count(self.source) + state.stages.handshake.count(self.source);
        drop(state);
        let crowd = of_source / self.lobby.places.slots.per_source.max(1);
        if crowd == 0 {
            return longest;
        }
        // Twice as many as there are slots: two seconds. A handshake takes two round trips.
        let crowd = u32::try_from(crowd).unwrap_or(u32::MAX);
        (Duration::from_secs(4) / crowd.saturating_add(1))
            .clamp(Duration::from_millis(500), longest.max(Duration::from_millis(500)))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.lock().let_go(self.number);
    }
}

#[cfg(test)]
mod tests;
