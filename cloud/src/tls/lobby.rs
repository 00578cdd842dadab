//! Where connections wait that have not shown anything yet, and which of them must go when there are too many.
//!
//! ```text
//! silent ──► greeting ──► stranger ──► gone from here: it showed an agent's certificate, a session or a token
//!   no byte yet  handshake    TLS is up
//! ```
//!
//! A connection that says nothing costs a file descriptor and no place in any queue: the handshake's slots are for those
//! that have begun one. Each stage has a limit per source address and one in all. Above it the oldest of the stage goes,
//! of the same source if that is what has too many: an honest client is through in milliseconds, so the oldest is the
//! one that came to stay. Who shares its address with a flood of silent connections therefore gets in all the same.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::slots::{Held, Slots};

/// One IPv4 address or IPv6 /64: who has one of those has all of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Source(u128);

impl Source {
    pub(super) fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self(u32::from(ip).into()),
            // No IPv6 network is within the first 2^32 addresses, which are all of one /64.
            IpAddr::V6(ip) => Self(u128::from(ip) >> 64 << 64 | 1 << 63),
        }
    }

    /// The /48 that an IPv6 network is part of, and that may belong to one; an IPv4 address has none.
    pub(super) fn site(self) -> Option<Self> {
        (self.0 >> 63 != 0).then_some(Self(self.0 >> 80 << 80 | 1 << 62))
    }
}

/// Connections of one stage: per source, and in all.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of one source.
    pub per_source: usize,
    /// Of all together.
    pub in_all: usize,
}

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Without a byte, or with half a greeting.
    pub silent: Most,
    /// With a whole greeting, in line for a slot or in one.
    pub greeting: Most,
    /// Handshakes at the same time.
    pub slots: Most,
    /// With TLS, and nothing shown.
    pub strangers: Most,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            // A file descriptor and about 4 KiB each. 1,000 agents behind one address come back at once.
            silent: Most {
                per_source: 2_048,
                in_all: 4_096,
            },
            // About 12 KiB each: 36 MiB in all.
            greeting: Most {
                per_source: 1_024,
                in_all: 3_072,
            },
            // One address takes a quarter of the slots at most: the rest is what is kept for agents elsewhere.
            slots: Most {
                per_source: 64,
                in_all: 256,
            },
            // Each about 60 KiB, 128 KiB of window that it may fill, and four bodies of 16 KiB: 32 MiB in all. A hundred
            // calls of each may be on their way to a refusal, with 8 KiB of headers; those that wait are counted apart, see
            // `Standing`.
            strangers: Most {
                per_source: 64,
                in_all: 128,
            },
        }
    }
}

/// A silent connection this young may be one whose bytes were not looked at yet; up to twice the limit it stays.
const YOUNG: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Silent,
    Greeting,
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
    sources: HashMap<Source, House>,
    all: Stages,
}

/// What came from one source.
#[derive(Debug)]
struct House {
    stages: Stages,
    line: Line,
}

/// Where the handshakes of one source wait for each other.
#[derive(Debug, Clone)]
struct Line {
    slots: Arc<Semaphore>,
    /// One of them asks for a slot of all.
    front: Arc<tokio::sync::Mutex<()>>,
    given_back: Arc<Notify>,
}

/// Guests by stage, in the order in which they came.
#[derive(Debug, Default)]
struct Stages {
    silent: BTreeMap<u64, Waiting>,
    greeting: BTreeMap<u64, Waiting>,
    strangers: BTreeMap<u64, Waiting>,
}

#[derive(Debug, Clone)]
struct Waiting {
    source: Source,
    since: Instant,
    leave: CancellationToken,
}

impl Stages {
    fn of(&mut self, stage: Stage) -> &mut BTreeMap<u64, Waiting> {
        match stage {
            Stage::Silent => &mut self.silent,
            Stage::Greeting => &mut self.greeting,
            Stage::Stranger => &mut self.strangers,
        }
    }

    fn is_empty(&self) -> bool {
        self.silent.is_empty() && self.greeting.is_empty() && self.strangers.is_empty()
    }
}

impl State {
    fn insert(&mut self, number: u64, stage: Stage, waiting: Waiting, slots_per_source: usize) {
        self.all.of(stage).insert(number, waiting.clone());
        let house = self.sources.entry(waiting.source).or_insert_with(|| House {
            stages: Stages::default(),
            line: Line {
                slots: Arc::new(Semaphore::new(slots_per_source)),
                front: Arc::default(),
                given_back: Arc::default(),
            },
        });
        house.stages.of(stage).insert(number, waiting);
    }

    fn remove(&mut self, number: u64, stage: Stage, source: Source) -> Option<Waiting> {
        if let Some(house) = self.sources.get_mut(&source) {
            house.stages.of(stage).remove(&number);
            if house.stages.is_empty() {
                self.sources.remove(&source);
            }
        }
        self.all.of(stage).remove(&number)
    }

    /// Sends away who is too many in this stage after one more has come to it.
    fn make_room(&mut self, stage: Stage, source: Source, most: Most) {
        let oldest = |waiting: &BTreeMap<u64, Waiting>, limit: usize| {
            let (number, oldest) = waiting.iter().next()?;
            let is_young = stage != Stage::Stranger && oldest.since.elapsed() < YOUNG;
            let limit = if is_young { 2 * limit } else { limit };
            (waiting.len() > limit).then_some((*number, oldest.source))
        };
        let of_house = self
            .sources
            .get_mut(&source)
            .and_then(|house| oldest(house.stages.of(stage), most.per_source));
        let victim = of_house.or_else(|| oldest(self.all.of(stage), most.in_all));
        if let Some((number, source)) = victim
            && let Some(waiting) = self.remove(number, stage, source)
        {
            tracing::debug!(?stage, "a connection that showed nothing made room for another");
            waiting.leave.cancel();
        }
    }
}

impl Lobby {
    pub(super) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self {
            places,
            slots: Slots::new(places.slots.in_all),
            state: Mutex::default(),
        })
    }

    /// Lets a connection wait.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr, stage: Stage) -> Guest {
        let source = Source::of(address);
        let leave = CancellationToken::new();
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let waiting = Waiting {
            source,
            since: Instant::now(),
            leave: leave.clone(),
        };
        state.insert(number, stage, waiting, self.places.slots.per_source);
        state.make_room(stage, source, self.most(stage));
        drop(state);
        Guest {
            lobby: Arc::clone(self),
            number,
            source,
            stage,
            leave,
        }
    }

    fn most(&self, stage: Stage) -> Most {
        match stage {
            Stage::Silent => self.places.silent,
            Stage::Greeting => self.places.greeting,
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
    stage: Stage,
    leave: CancellationToken,
}

/// A handshake's slot.
pub(super) struct Slot {
    // Given back in this order: who gets the permit finds the slot free.
    of_all: Held,
    _of_source: OwnedSemaphorePermit,
}

impl Slot {
    /// Waits until this handshake has to make room for one of another network.
    pub(super) async fn sent_away(&self) {
        self.of_all.sent_away().await;
    }
}

impl Guest {
    /// Waits until this connection has to make room for others.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }

    /// Goes on to the next stage.
    pub(super) fn advance(&mut self, stage: Stage) {
        let mut state = self.lobby.lock();
        // Who was sent away meanwhile stays away.
        if let Some(waiting) = state.remove(self.number, self.stage, self.source) {
            let waiting = Waiting {
                since: Instant::now(),
                ..waiting
            };
            state.insert(self.number, stage, waiting, self.lobby.places.slots.per_source);
            state.make_room(stage, self.source, self.lobby.most(stage));
        }
        self.stage = stage;
    }

    /// Waits for a slot, behind others of the same source only.
    pub(super) async fn slot(&self) -> Option<Slot> {
        let line = {
            let state = self.lobby.lock();
            state.sources.get(&self.source).map(|house| house.line.clone())?
        };
        let of_source = line.slots.acquire_owned().await.ok()?;
        let _front = line.front.lock().await;
        Some(Slot {
            of_all: self.lobby.slots.take(self.source, &line.given_back).await,
            _of_source: of_source,
        })
    }

    /// How long a handshake may last while others of its source wait for a slot: the more wait, the shorter. For
    /// those of other sources it is sent away when it must.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        let state = self.lobby.lock();
        let of_source = state
            .sources
            .get(&self.source)
            .map_or(0, |house| house.stages.greeting.len());
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
        self.lobby.lock().remove(self.number, self.stage, self.source);
    }
}

#[cfg(test)]
mod tests;
