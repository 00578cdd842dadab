//! Who is in a handshake, and who makes room when everybody wants to be.
//!
//! There is no line that all stand in: the share of a network says who comes in, never how many came before. While
//! slots are free anybody takes one, the last quarter only for networks that hold none. When none is left, the oldest of
//! the network that holds the most makes room for a network that holds less; a network that has its share waits for its
//! own. An IPv6 network is counted as a /64 and as a /48, which weighs as much as four of its /64.
//!
//! When more networks than there are slots hold one each, the oldest of all makes room: a handshake then has to be done
//! within a tenth of a second, or come again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::lobby::Source;

/// Nobody makes room for another network sooner: a handshake takes two round trips. It also bounds the cryptography of
/// a flood, to all slots each tenth of a second.
const LEAST: Duration = Duration::from_millis(100);
/// Nobody makes room for its own network sooner.
const OWN: Duration = Duration::from_millis(500);
/// Between two looks of one that waits, unless its own network gives a slot back.
const LOOK: Duration = Duration::from_millis(50);
/// A /48 may hold as much as so many of its /64.
const SITE: usize = 4;

/// The slots of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    in_all: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    held: BTreeMap<u64, Holder>,
    sources: HashMap<Source, usize>,
    sites: HashMap<Source, usize>,
    /// No network holds more than this; a few may be less since it was counted.
    most: usize,
    /// Nobody may be asked to make room for another network before.
    ripe: Option<Instant>,
}

#[derive(Debug)]
struct Holder {
    source: Source,
    since: Instant,
    leave: CancellationToken,
    given_back: Arc<Notify>,
}

/// A handshake's slot; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held {
    slots: Arc<Slots>,
    number: u64,
    leave: CancellationToken,
}

impl Held {
    /// Waits until this handshake has to make room for another one.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slots.lock().remove(self.number);
    }
}

impl State {
    /// How much a network holds, of what it shares with others the larger.
    fn share(&self, source: Source) -> usize {
        let of_source = self.sources.get(&source).copied().unwrap_or(0);
        let of_site = source.site().and_then(|site| self.sites.get(&site));
        let of_site = of_site.copied().unwrap_or(0);
        of_source.max(of_site.div_ceil(SITE))
    }

    fn insert(&mut self, source: Source, given_back: Arc<Notify>) -> (u64, CancellationToken) {
        let number = self.next;
        self.next += 1;
        let leave = CancellationToken::new();
        let holder = Holder {
            source,
            since: Instant::now(),
            leave: leave.clone(),
            given_back,
        };
        self.held.insert(number, holder);
        *self.sources.entry(source).or_default() += 1;
        if let Some(site) = source.site() {
            *self.sites.entry(site).or_default() += 1;
        }
        self.most = self.most.max(self.share(source));
        (number, leave)
    }

    /// Gives a slot back; nothing when it made room already.
    fn remove(&mut self, number: u64) {
        let Some(holder) = self.held.remove(&number) else {
            return;
        };
        less(&mut self.sources, holder.source);
        if let Some(site) = holder.source.site() {
            less(&mut self.sites, site);
        }
        holder.leave.cancel();
        holder.given_back.notify_one();
    }

    /// The oldest of those that hold the most, if they hold more than `least`.
    fn oldest_of_the_most(&mut self, least: usize) -> Option<(u64, Instant)> {
        if self.most <= least {
            return None;
        }
        let mut found = None;
        let mut most = 0;
        for (number, holder) in &self.held {
            let share = self.share(holder.source);
            if share > most {
                most = share;
                found = Some((*number, holder.since));
            }
        }
        self.most = most;
        found.filter(|_| most > least)
    }

    /// Makes one slot free for this source if its share allows it.
    fn make_room(&mut self, source: Source, share: usize) -> bool {
        let now = Instant::now();
        // To change places with one that holds only one more would go on for ever.
        let least = if share == 0 { 0 } else { share + 1 };
        if self.ripe.is_none_or(|ripe| ripe <= now)
            && let Some((number, since)) = self.oldest_of_the_most(least)
        {
            if since + LEAST <= now {
                self.remove(number);
                return true;
            }
            self.ripe = Some(since + LEAST);
            return false;
        }
        if share == 0 {
            return false;
        }
        let site = source.site();
        let is_own = |other: Source| other == source || (site.is_some() && other.site() == site);
        let own = self.held.iter().find(|(_, holder)| is_own(holder.source));
        match own {
            Some((number, holder)) if holder.since + OWN <= now => {
                let number = *number;
                self.remove(number);
                true
            }
            Some(_) | None => false,
        }
    }
}

fn less(counts: &mut HashMap<Source, usize>, key: Source) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Slots {
    pub(super) fn new(in_all: usize) -> Arc<Self> {
        Arc::new(Self {
            in_all,
            state: Mutex::default(),
        })
    }

    /// Waits for a slot. `given_back` is told when one of the source is free again; only one of a source waits here.
    pub(super) async fn take(self: &Arc<Self>, source: Source, given_back: &Arc<Notify>) -> Held {
        loop {
            if let Some(held) = self.try_take(source, given_back) {
                return held;
            }
            // Whichever it was, it is looked at again.
            let _ = timeout(LOOK, given_back.notified()).await;
        }
    }

    fn try_take(self: &Arc<Self>, source: Source, given_back: &Arc<Notify>) -> Option<Held> {
        let mut state = self.lock();
        let share = state.share(source);
        let kept = if share == 0 { 0 } else { self.in_all / 4 };
        if state.held.len() >= self.in_all - kept && !state.make_room(source, share) {
            return None;
        }
        let (number, leave) = state.insert(source, Arc::clone(given_back));
        drop(state);
        Some(Held {
            slots: Arc::clone(self),
            number,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(format!("{address}:1").parse().unwrap())
    }

    fn enter(slots: &Arc<Slots>, address: &str) -> Option<Held> {
        slots.try_take(source(address), &Arc::new(Notify::new()))
    }

    fn away(held: &[Held]) -> Vec<usize> {
        let away = held.iter().enumerate().filter(|(_, held)| held.leave.is_cancelled());
        away.map(|(place, _)| place).collect()
    }

    /// Sixteen networks that take what they get.
    fn flood(slots: &Arc<Slots>) -> Vec<Held> {
        (0..1_024)
            .filter_map(|n| enter(slots, &format!("10.0.0.{}", n % 16)))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_networks_leaves_a_quarter_to_those_that_hold_none() {
        let slots = Slots::new(256);
        let flood = flood(&slots);
        assert_eq!(flood.len(), 192);
        let honest: Vec<Held> = (0..64).filter_map(|n| enter(&slots, &format!("10.1.0.{n}"))).collect();
        assert_eq!((honest.len(), away(&flood)), (64, vec![]));
        // All are taken: the flood makes room, its oldest first, and never one that holds a single slot.
        assert!(enter(&slots, "10.2.0.1").is_none(), "they are new");
        tokio::time::advance(LEAST).await;
        let late = enter(&slots, "10.2.0.1").unwrap();
        assert_eq!((away(&flood), away(&honest)), (vec![0], vec![]));
        drop((flood, honest, late));
        let state = slots.lock();
        assert!(state.held.is_empty() && state.sources.is_empty() && state.sites.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_one_address_passes_a_flood_and_the_flood_waits_for_its_own() {
        let slots = Slots::new(256);
        let flood = flood(&slots);
        tokio::time::advance(LEAST).await;
        let first = enter(&slots, "10.2.0.1").unwrap();
        let second = enter(&slots, "10.2.0.1").unwrap();
        assert_eq!(away(&flood), [0]);
        assert!(enter(&slots, "10.0.0.1").is_none());
        tokio::time::advance(OWN).await;
        let own = enter(&slots, "10.0.0.1").unwrap();
        assert_eq!(away(&flood), [0, 1]);
        assert!(!away(&[first, second, own]).contains(&0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_comes_in_as_soon_as_its_own_network_gives_back() {
        let slots = Slots::new(1);
        let given_back = Arc::new(Notify::new());
        let first = slots.take(source("10.0.0.1"), &given_back).await;
        let began = Instant::now();
        let (second, ()) = tokio::join!(slots.take(source("10.0.0.1"), &given_back), async { drop(first) });
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!second.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_with_many_networks_is_no_crowd_of_strangers() {
        let slots = Slots::new(256);
        let flood: Vec<Held> = (0..1_024)
            .filter_map(|n| enter(&slots, &format!("[2001:db8:1:{n:x}::1]")))
            .collect();
        assert_eq!(flood.len(), 192, "only the first of the site held none");
        let honest = enter(&slots, "[2001:db8:2::1]").unwrap();
        assert!(away(&flood).is_empty() && away(&[honest]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_holds_none_passes_the_oldest_of_its_crowded_site() {
        let slots = Slots::new(256);
        let flood: Vec<Held> = (0..192)
            .filter_map(|n| enter(&slots, &format!("[2001:db8:1:{n:x}::1]")))
            .collect();
        assert_eq!(flood.len(), 192);
        assert!(enter(&slots, "[2001:db8:1:ffff::1]").is_none());
        tokio::time::advance(OWN).await;
        let neighbour = enter(&slots, "[2001:db8:1:ffff::1]");
        assert!(neighbour.is_some());
        assert_eq!(away(&flood), [0]);
    }

    #[tokio::test]
    async fn an_ipv4_address_gives_nothing_back_that_a_site_holds() {
        let slots = Slots::new(256);
        let six = enter(&slots, "[::1]").unwrap();
        drop(enter(&slots, "127.0.0.1").unwrap());
        assert_eq!(slots.lock().sites.len(), 1);
        drop(six);
        assert!(slots.lock().sites.is_empty());
    }
}
