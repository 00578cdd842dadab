//! Who comes in, who makes room, and how many begin.

use super::*;

const MOST: Most = Most {
    per_source: 64,
    in_all: 256,
};
const RATE: Rate = Rate {
    first_per_sec: 400,
    again_per_sec: 300,
};

fn source(address: &str) -> Source {
    Source::of(format!("{address}:1").parse().unwrap())
}

fn slots() -> Arc<Slots> {
    Slots::new(MOST, RATE)
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
    let slots = slots();
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
    tokio::time::advance(OWN).await;
    let mut state = slots.lock();
    state.forget(Instant::now());
    assert!(state.held.is_empty() && state.begun.is_empty() && state.taken.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_second_of_one_address_passes_a_flood_and_the_flood_waits_for_its_own() {
    let slots = slots();
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
    let one = Most {
        per_source: 1,
        in_all: 1,
    };
    let slots = Slots::new(one, RATE);
    let given_back = Arc::new(Notify::new());
    let first = slots.take(source("10.0.0.1"), &given_back).await;
    let began = Instant::now();
    let (second, _) = tokio::join!(slots.take(source("10.0.0.1"), &given_back), async { first.complete() });
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!second.leave.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_site_with_many_networks_is_no_crowd_of_strangers() {
    let slots = slots();
    let flood: Vec<Held> = (0..1_024)
        .filter_map(|n| enter(&slots, &format!("[2001:db8:1:{n:x}::1]")))
        .collect();
    assert_eq!(flood.len(), 192, "only the first of the site held none");
    let honest = enter(&slots, "[2001:db8:2::1]").unwrap();
    assert!(away(&flood).is_empty() && away(&[honest]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_network_that_holds_none_passes_the_oldest_of_its_crowded_site() {
    let slots = slots();
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

/// Held slots alone were counted: whoever lost his was privileged at once.
#[tokio::test(start_paused = true)]
async fn a_network_that_ended_its_handshake_has_nothing_of_the_kept_quarter_for_a_while() {
    let slots = slots();
    let others: Vec<Held> = (0..192).filter_map(|n| enter(&slots, &format!("10.0.0.{n}"))).collect();
    assert_eq!(others.len(), 192);
    drop(enter(&slots, "10.1.0.1").unwrap());
    assert!(enter(&slots, "10.1.0.1").is_none());
    tokio::time::advance(OWN - Duration::from_millis(1)).await;
    assert!(enter(&slots, "10.1.0.1").is_none());
    assert!(enter(&slots, "10.1.0.2").is_some(), "for others it is there");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(enter(&slots, "10.1.0.1").is_some());
    assert!(away(&others).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_network_that_loses_its_slots_has_its_share_all_the_same() {
    let slots = slots();
    let flood = flood(&slots);
    let honest: Vec<Held> = (0..64).filter_map(|n| enter(&slots, &format!("10.1.0.{n}"))).collect();
    tokio::time::advance(LEAST).await;
    // Each newcomer takes the place of one of the sixteen, in turn: none of them comes to have less than it took.
    let newcomers: Vec<Held> = (0..192).filter_map(|n| enter(&slots, &format!("10.2.0.{n}"))).collect();
    assert_eq!((newcomers.len(), away(&flood).len()), (192, 192));
    assert!(enter(&slots, "10.0.0.1").is_none());
    assert_eq!(slots.lock().held.weight(source("10.0.0.1")), 12);
    assert!(away(&honest).is_empty() && away(&newcomers).is_empty());
}

/// HIGH 2: as many as its clients could begin and end.
#[tokio::test(start_paused = true)]
async fn one_address_that_ends_its_handshakes_at_once_begins_64_in_half_a_second() {
    let slots = slots();
    let mut begun = 0;
    for _ in 0..1_000 {
        begun += usize::from(enter(&slots, "10.0.0.1").is_some());
        tokio::time::advance(Duration::from_micros(100)).await;
    }
    assert_eq!(begun, MOST.per_source);
}

/// However many networks there are, and whether they complete their handshakes: five thousand addresses, of which each tries
/// twice a second.
#[tokio::test(start_paused = true)]
async fn all_networks_together_begin_no_more_than_the_pace() {
    for is_complete in [false, true] {
        let slots = slots();
        let (mut begun, seconds) = (0, 5);
        for tick in 0..seconds * 100 {
            for n in 0..100 {
                let n = (tick * 100 + n) % 5_000;
                let Some(held) = enter(&slots, &format!("10.0.{}.{}", n / 250, n % 250)) else {
                    continue;
                };
                begun += 1;
                if is_complete {
                    held.complete();
                }
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let at_once = MOST.in_all / 4 + 2 * MOST.in_all;
        let most = at_once + seconds * 700;
        assert!(begun <= most && begun > most / 2, "{begun} of {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_that_completes_its_handshakes_keeps_the_pace_too_and_not_the_first_of_others() {
    let slots = slots();
    let mut begun = 0;
    while let Some(held) = enter(&slots, "10.0.0.1") {
        held.complete();
        begun += 1;
    }
    assert_eq!(begun, 1 + 2 * MOST.in_all);
    assert!(enter(&slots, "10.0.0.2").is_some());
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_end_leave_half_of_the_pace_to_networks_without_a_share() {
    let slots = slots();
    // Eight addresses, of which each may begin 64, end their handshakes at once.
    for n in 0..8 {
        while enter(&slots, &format!("10.0.0.{n}")).is_some() {}
    }
    assert!(enter(&slots, "10.0.0.1").is_none());
    let mut begun = 0;
    while let Some(held) = enter(&slots, "10.1.0.1") {
        held.complete();
        begun += 1;
    }
    assert_eq!(begun, 1 + MOST.in_all);
}

/// A cloud that comes back finds all of its agents at the door, maybe behind one address.
#[tokio::test(start_paused = true)]
async fn a_thousand_agents_behind_one_address_are_no_flood() {
    let slots = slots();
    for _ in 0..16 {
        // As many of them at a time as one address may hold.
        let held: Vec<Held> = (0..MOST.per_source).filter_map(|_| enter(&slots, "10.0.0.1")).collect();
        assert_eq!(held.len(), MOST.per_source);
        for held in held {
            held.complete().into_known();
        }
    }
    let state = slots.lock();
    assert!(state.held.is_empty() && state.begun.is_empty());
}
