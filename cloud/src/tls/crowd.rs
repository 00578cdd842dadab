//! A crowd, counted by network: which network has the most of it is found without looking at everybody.
//!
//! A network is one IPv4 address or one IPv6 /64. All /64 of a /48, which may belong to one, weigh together as well: a
//! quarter of what they have. Whoever is too heavy in a crowd is therefore a network, or a /48, and of a /48 the /64 that
//! has the most. What is gone may be counted on, beside who is here; a network of which nobody is here is never the
//! heaviest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

/// A /48 may have as much as so many of its /64.
const SITE: usize = 4;

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

/// Which of a network goes first, and of networks that have as many, the one with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Oldest,
    Newest,
}

/// Everybody of one kind, by network and in the order of their numbers.
#[derive(Debug)]
pub(super) struct Crowd<T> {
    first: First,
    networks: HashMap<Source, Network<T>>,
    sites: HashMap<Source, Site>,
    /// The networks and sites of which somebody is here; the heaviest is the last.
    ranks: BTreeSet<Rank>,
    here: usize,
}

#[derive(Debug)]
struct Network<T> {
    here: BTreeMap<u64, T>,
    /// Counted on, beside who is here.
    gone: usize,
}

#[derive(Debug, Default)]
struct Site {
    /// Of all its networks together.
    count: usize,
    networks: BTreeSet<Rank>,
}

/// Where a network or a site stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weight: usize,
    /// Of those with the same weight the larger goes first.
    turn: u64,
    of: Source,
}

impl<T> Network<T> {
    fn new() -> Self {
        Self {
            here: BTreeMap::new(),
            gone: 0,
        }
    }

    fn count(&self) -> usize {
        self.here.len() + self.gone
    }

    fn rank(&self, of: Source, first: First) -> Option<Rank> {
        let turn = match first {
            First::Oldest => !*self.here.keys().next()?,
            First::Newest => *self.here.keys().next_back()?,
        };
        let weight = self.count();
        Some(Rank { weight, turn, of })
    }
}

impl Site {
    fn rank(&self, of: Source) -> Option<Rank> {
        let heaviest = self.networks.last()?;
        Some(Rank {
            weight: self.count.div_ceil(SITE),
            turn: heaviest.turn,
            of,
        })
    }
}

/// The ranks with the largest weight, first the one that goes first.
fn heaviest(ranks: &BTreeSet<Rank>) -> impl Iterator<Item = &Rank> {
    let most = ranks.last().map(|rank| rank.weight);
    ranks.iter().rev().take_while(move |rank| Some(rank.weight) == most)
}

fn replace(ranks: &mut BTreeSet<Rank>, old: Option<Rank>, new: Option<Rank>) {
    if let Some(old) = old {
        ranks.remove(&old);
    }
    ranks.extend(new);
}

impl<T> Crowd<T> {
    pub(super) fn new(first: First) -> Self {
        Self {
            first,
            networks: HashMap::new(),
            sites: HashMap::new(),
            ranks: BTreeSet::new(),
            here: 0,
        }
    }

    /// How many are here.
    pub(super) fn here(&self) -> usize {
        self.here
    }

    /// How many of a network count, here or gone.
    pub(super) fn count(&self, source: Source) -> usize {
        self.networks.get(&source).map_or(0, Network::count)
    }

    /// What a network weighs, alone or with its /48, whichever is more.
    pub(super) fn weight(&self, source: Source) -> usize {
        let site = source.site().and_then(|site| self.sites.get(&site));
        let of_site = site.map_or(0, |site| site.count.div_ceil(SITE));
        self.count(source).max(of_site)
    }

    /// What the heaviest weighs.
    pub(super) fn most(&self) -> usize {
        self.ranks.last().map_or(0, |rank| rank.weight)
    }

    /// The heaviest networks, first the one of which somebody goes first; there are several when they weigh the same.
    pub(super) fn heaviest(&self) -> impl Iterator<Item = Source> {
        heaviest(&self.ranks).flat_map(move |rank| {
            let site = self.sites.get(&rank.of);
            let network = site.is_none().then_some(rank.of);
            let of_site = site.into_iter().flat_map(|site| heaviest(&site.networks));
            network.into_iter().chain(of_site.map(|rank| rank.of))
        })
    }

    /// The heaviest network of the /48 that this one is in; without one itself.
    pub(super) fn heaviest_beside(&self, source: Source) -> Source {
        let site = source.site().and_then(|site| self.sites.get(&site));
        let heaviest = site.and_then(|site| site.networks.last());
        heaviest.map_or(source, |rank| rank.of)
    }

    /// Who is here of a network, the oldest first.
    pub(super) fn of(&self, source: Source) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let here = self.networks.get(&source).map(|network| network.here.iter());
        here.into_iter().flatten().map(|(number, member)| (*number, member))
    }

    pub(super) fn get_mut(&mut self, source: Source, number: u64) -> Option<&mut T> {
        self.networks.get_mut(&source)?.here.get_mut(&number)
    }

    /// Somebody has come. Numbers only grow.
    pub(super) fn insert(&mut self, source: Source, number: u64, member: T) {
        self.change(source, |network| network.here.insert(number, member));
        self.here += 1;
    }

    /// Somebody goes; nothing when it is gone already.
    pub(super) fn remove(&mut self, source: Source, number: u64) -> Option<T> {
        let member = self.change(source, |network| network.here.remove(&number))?;
        self.here -= 1;
        Some(member)
    }

    /// Counts one that is gone on, until [`Self::forget_gone`].
    pub(super) fn count_gone(&mut self, source: Source) {
        self.change(source, |network| network.gone += 1);
    }

    /// Counts one that is gone no more.
    pub(super) fn forget_gone(&mut self, source: Source) {
        self.change(source, |network| network.gone = network.gone.saturating_sub(1));
    }

    fn change<R>(&mut self, source: Source, change: impl FnOnce(&mut Network<T>) -> R) -> R {
        let network = self.networks.entry(source).or_insert_with(Network::new);
        let (old, old_count) = (network.rank(source, self.first), network.count());
        let result = change(network);
        let (new, new_count) = (network.rank(source, self.first), network.count());
        if new_count == 0 {
            self.networks.remove(&source);
        }
        replace(&mut self.ranks, old, new);
        if let Some(key) = source.site() {
            let site = self.sites.entry(key).or_default();
            let old_of_site = site.rank(key);
            replace(&mut site.networks, old, new);
            site.count = site.count + new_count - old_count;
            let new_of_site = site.rank(key);
            if site.count == 0 {
                self.sites.remove(&key);
            }
            replace(&mut self.ranks, old_of_site, new_of_site);
        }
        result
    }
}

#[cfg(test)]
impl<T> Crowd<T> {
    /// Nobody is here, nothing counts, and nothing is left of either.
    pub(super) fn is_empty(&self) -> bool {
        self.here == 0 && self.networks.is_empty() && self.sites.is_empty() && self.ranks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(format!("{address}:1").parse().unwrap())
    }

    fn crowd(first: First, addresses: &[&str]) -> Crowd<()> {
        let mut crowd = Crowd::new(first);
        for (number, address) in (0..).zip(addresses) {
            crowd.insert(source(address), number, ());
        }
        crowd
    }

    #[test]
    fn a_network_is_one_source() {
        let of = |address: &str| Source::of(address.parse().unwrap());
        assert_eq!(of("10.0.0.1:1"), of("10.0.0.1:2"));
        assert_eq!(of("[::ffff:10.0.0.1]:1"), of("10.0.0.1:1"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff]:9"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_ne!(of("[::1]:1"), of("0.0.0.1:1"));
        assert_eq!(of("[2001:db8::1]:1").site(), of("[2001:db8:0:1::1]:1").site());
        assert_ne!(of("[2001:db8::1]:1").site(), of("[2001:db8:1::1]:1").site());
        assert_eq!(of("10.0.0.1:1").site(), None);
        assert!(of("[::1]:1").site().is_some());
    }

    #[test]
    fn of_networks_with_as_many_the_one_with_the_oldest_or_newest_goes_first() {
        let addresses = ["10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"];
        for (first, order) in [
            (First::Oldest, ["10.0.0.2", "10.0.0.1"]),
            (First::Newest, ["10.0.0.2", "10.0.0.1"]),
        ] {
            let crowd = crowd(first, &addresses);
            assert_eq!(crowd.heaviest().collect::<Vec<_>>(), order.map(source), "{first:?}");
        }
        let addresses = ["10.0.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.1"];
        let goes = |first| crowd(first, &addresses).heaviest().next();
        assert_eq!(goes(First::Oldest), Some(source("10.0.0.2")));
        assert_eq!(goes(First::Newest), Some(source("10.0.0.1")));
    }

    #[test]
    fn a_site_weighs_as_a_quarter_of_its_networks_and_the_heaviest_of_those_goes() {
        let mut crowd = crowd(First::Oldest, &["10.0.0.1", "10.0.0.1"]);
        for number in 0..9u64 {
            let address = format!("[2001:db8:1:{number:x}::1]");
            crowd.insert(source(&address), 10 + number, ());
        }
        let crowded = source("[2001:db8:1:5::1]");
        crowd.insert(crowded, 20, ());
        // Ten are a weight of three.
        assert_eq!((crowd.most(), crowd.weight(source("[2001:db8:1:ffff::1]"))), (3, 3));
        assert_eq!(crowd.heaviest().collect::<Vec<_>>(), [crowded]);
        assert_eq!(crowd.heaviest_beside(source("[2001:db8:1:ffff::1]")), crowded);
        assert_eq!(crowd.heaviest_beside(source("10.0.0.9")), source("10.0.0.9"));
    }

    #[test]
    fn who_is_gone_counts_and_is_never_the_heaviest() {
        let mut crowd = crowd(First::Oldest, &["10.0.0.1", "10.0.0.2"]);
        let gone = source("10.0.0.1");
        crowd.count_gone(gone);
        crowd.count_gone(gone);
        assert_eq!(
            (crowd.count(gone), crowd.here(), crowd.heaviest().next()),
            (3, 2, Some(gone))
        );
        crowd.remove(gone, 0);
        assert_eq!(
            (crowd.count(gone), crowd.heaviest().next()),
            (2, Some(source("10.0.0.2")))
        );
        assert!(crowd.remove(gone, 0).is_none());
        crowd.forget_gone(gone);
        crowd.forget_gone(gone);
        crowd.remove(source("10.0.0.2"), 1);
        assert!(crowd.is_empty());
    }

    #[test]
    fn an_ipv4_address_takes_nothing_from_a_site() {
        let mut crowd = crowd(First::Oldest, &["[::1]", "127.0.0.1"]);
        crowd.remove(source("127.0.0.1"), 1);
        assert_eq!((crowd.sites.len(), crowd.most()), (1, 1));
        crowd.remove(source("[::1]"), 0);
        assert!(crowd.is_empty());
    }

    /// The heaviest, by a look at everybody.
    fn by_scan(crowd: &Crowd<()>) -> usize {
        let here = |source: &Source| crowd.of(*source).next().is_some();
        let networks = crowd.networks.keys().filter(|source| here(source));
        networks.map(|source| crowd.weight(*source)).max().unwrap_or(0)
    }

    #[test]
    fn the_heaviest_is_the_one_that_a_look_at_everybody_finds() {
        let mut luck = fastrand::Rng::with_seed(7);
        let mut crowd = Crowd::new(First::Newest);
        let mut here = Vec::new();
        for number in 0..2_000u64 {
            let address = match luck.bool() {
                true => format!("10.0.0.{}", luck.u8(..8)),
                false => format!("[2001:db8:{}:{}::1]", luck.u8(..3), luck.u8(..6)),
            };
            let source = source(&address);
            match luck.u8(..4) {
                0 | 1 => {
                    crowd.insert(source, number, ());
                    here.push((source, number));
                }
                2 if !here.is_empty() => {
                    let (source, number) = here.swap_remove(luck.usize(..here.len()));
                    assert!(crowd.remove(source, number).is_some());
                }
                2 => {}
                _ => match luck.bool() {
                    true => crowd.count_gone(source),
                    false => crowd.forget_gone(source),
                },
            }
            assert_eq!((crowd.most(), crowd.here()), (by_scan(&crowd), here.len()));
            for heaviest in crowd.heaviest() {
                assert_eq!(crowd.weight(heaviest), crowd.most());
                assert!(crowd.of(heaviest).next().is_some());
            }
        }
    }
}
