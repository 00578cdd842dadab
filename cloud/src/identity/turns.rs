//! Whose password is checked next.
//!
//! There is no line that all stand in: the next turn is for an address from which somebody was right within a day, then
//! for the one that had the fewest turns while there was anybody waiting, then for whoever waits the longest. So a flood
//! from many addresses waits for itself, and who comes between is next. An IPv6 /48 counts as four of its /64.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// Passwords that are checked at the same time.
pub(super) const AT_ONCE: usize = 2;
/// Passwords of one address that are checked or wait for it.
const PER_ADDRESS: u32 = 8;
/// Passwords of all addresses that wait. Above it the one whose turn is the furthest away is refused.
const WAITING_MAX: usize = 1_024;
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long an address is known by a right password.
const RIGHT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Most addresses of each kind that are remembered; above it, all are forgotten.
const ADDRESSES_MAX: usize = 20_000;
/// A /48 may have as many turns as so many of its /64.
const SITE: u32 = 4;

/// The turns of one cloud.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    at_work: BTreeSet<u64>,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// Those that wait or are at work, by address.
    in_line: HashMap<String, u32>,
    /// Turns since nobody waited, by address and by site.
    had: HashMap<String, u32>,
    right: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Waiting {
    address: String,
    begin: oneshot::Sender<()>,
}

/// The turn of one password, or its place in line; dropping it lets the next one begin.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    address: String,
}

/// The /48 of an address that is a /64, as `attempts::address_key` writes it.
fn site(address: &str) -> Option<&str> {
    let (site, _) = address.strip_suffix("::/64")?.rsplit_once(':')?;
    Some(site)
}

impl State {
    /// What comes first has the smaller one.
    fn rank(&self, address: &str, now: Instant) -> (bool, u32) {
        let is_right = self.right.get(address).is_some_and(|until| *until > now);
        let had = |key: &str| self.had.get(key).copied().unwrap_or(0);
        let of_site = site(address).map_or(0, had);
        (!is_right, had(address).max(of_site.div_ceil(SITE)))
    }

    fn begin(&mut self, number: u64, address: &str) {
        self.at_work.insert(number);
        if self.had.len() >= ADDRESSES_MAX {
            self.had.clear();
        }
        let keys = [Some(address), site(address)];
        for key in keys.into_iter().flatten() {
            *self.had.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// Gives free turns to those that wait.
    fn go_on(&mut self) {
        let now = Instant::now();
        while self.at_work.len() < AT_ONCE {
            let ranked = self.waiting.iter();
            let ranked = ranked.map(|(number, waiting)| (self.rank(&waiting.address, now), *number));
            let Some((_, number)) = ranked.min() else {
                self.had.clear();
                return;
            };
            let Some(waiting) = self.waiting.remove(&number) else {
                return;
            };
            // Who does not wait any more gives it back when it is dropped.
            if waiting.begin.send(()).is_ok() {
                self.begin(number, &waiting.address);
            }
        }
    }

    /// Gives up a place in line, or ends a turn; nothing when it was sent away.
    fn leave(&mut self, number: u64) {
        self.waiting.remove(&number);
        if self.at_work.remove(&number) {
            self.go_on();
        }
    }

    /// Sends away whose turn is the furthest away.
    fn make_room(&mut self) {
        if self.waiting.len() <= WAITING_MAX {
            return;
        }
        let now = Instant::now();
        let ranked = self.waiting.iter();
        let ranked = ranked.map(|(number, waiting)| (self.rank(&waiting.address, now), *number));
        if let Some((_, last)) = ranked.max() {
            self.waiting.remove(&last);
        }
    }
}

impl Turns {
    /// Waits for a turn; `None` when too many of the address wait already, or when it takes too long.
    pub(super) async fn take(self: &Arc<Self>, address: &str) -> Option<Turn> {
        let (begin, begun) = oneshot::channel();
        let turn = {
            let mut state = self.lock();
            let in_line = state.in_line.entry(address.to_owned()).or_default();
            if *in_line >= PER_ADDRESS {
                return None;
            }
            *in_line += 1;
            let number = state.next;
            state.next += 1;
            let address = address.to_owned();
            let waiting = Waiting {
                address: address.clone(),
                begin,
            };
            state.waiting.insert(number, waiting);
            state.go_on();
            state.make_room();
            Turn {
                turns: Arc::clone(self),
                number,
                address,
            }
        };
        timeout(LONGEST_WAIT, begun).await.ok()?.ok()?;
        Some(turn)
    }

    /// Remembers that somebody at this address was right.
    pub(super) fn was_right(&self, address: &str) {
        let mut state = self.lock();
        if state.right.len() >= ADDRESSES_MAX {
            state.right.clear();
        }
        state.right.insert(address.to_owned(), Instant::now() + RIGHT_FOR);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whose turn it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(in_line) = state.in_line.get_mut(&self.address) {
            *in_line = in_line.saturating_sub(1);
            if *in_line == 0 {
                state.in_line.remove(&self.address);
            }
        }
        state.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_line(turns: &Arc<Turns>, address: &str) -> tokio::task::JoinHandle<Option<Turn>> {
        let (turns, address) = (Arc::clone(turns), address.to_owned());
        tokio::spawn(async move { turns.take(&address).await })
    }

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_into_a_flood_of_many_addresses_is_next() {
        let turns = Arc::<Turns>::default();
        let at_work = [turns.take("x").await.unwrap(), turns.take("y").await.unwrap()];
        let mut flood = Vec::new();
        for n in 0..150 * 8 {
            flood.push(in_line(&turns, &format!("10.0.{}.1", n % 150)));
        }
        while turns.lock().next < 2 + 150 * 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.lock().waiting.len(), WAITING_MAX, "the others were refused");
        // Each of the flood's addresses has a turn; then somebody else comes.
        drop(at_work);
        for flooding in &mut flood[..150] {
            drop(flooding.await.unwrap().expect("a turn"));
            settle().await;
        }
        let honest = in_line(&turns, "10.1.0.1");
        settle().await;
        let mut before = 0;
        for flooding in &mut flood[150..] {
            if honest.is_finished() {
                break;
            }
            before += u32::from(flooding.await.unwrap().is_some());
            settle().await;
        }
        assert!(honest.is_finished(), "behind the two at work and nobody else");
        assert!(before <= 2, "{before}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_somebody_was_right_comes_first_for_a_day() {
        let turns = Arc::<Turns>::default();
        turns.was_right("10.1.0.1");
        let mut at_work = vec![turns.take("x").await.unwrap(), turns.take("y").await.unwrap()];
        let first = in_line(&turns, "10.0.0.1");
        settle().await;
        let known = in_line(&turns, "10.1.0.1");
        settle().await;
        at_work.pop();
        settle().await;
        assert!(known.is_finished() && !first.is_finished());
        // What is given up leaves nothing behind.
        first.abort();
        settle().await;
        drop((known.await.unwrap(), at_work));
        let state = turns.lock();
        assert_eq!(
            (state.at_work.len(), state.waiting.len(), state.in_line.len()),
            (0, 0, 0)
        );
        assert!(state.had.is_empty());
        assert_eq!(state.rank("10.1.0.1", Instant::now() + RIGHT_FOR), (true, 0));
    }

    #[test]
    fn a_site_has_as_many_turns_as_four_of_its_networks() {
        let mut state = State::default();
        for network in 0..8 {
            state.begin(network, &format!("2001:db8:1:{network}::/64"));
        }
        let now = Instant::now();
        assert_eq!(state.rank("2001:db8:1:ffff::/64", now), (true, 2));
        assert_eq!(state.rank("2001:db8:2:1::/64", now), (true, 0));
        assert_eq!(state.rank("10.0.0.1", now), (true, 0));
    }
}
