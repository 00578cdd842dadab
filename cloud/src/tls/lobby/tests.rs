//! Who goes, and who waits.

use super::*;
use crate::tls::Rate;

const FEW: Most = Most {
    per_source: 2,
    in_all: 3,
};

fn lobby() -> Arc<Lobby> {
    of(FEW, FEW)
}

/// With so many slots, and so many of everybody else.
fn of(slots: Most, others: Most) -> Arc<Lobby> {
    Lobby::new(Places {
        silent: others,
        greeting: others,
        slots,
        handshakes: Rate {
            first_per_sec: 400,
            again_per_sec: 300,
        },
        strangers: others,
    })
}

/// Somebody from one of a few addresses.
fn enter(lobby: &Arc<Lobby>, last: u8, stage: Stage) -> Guest {
    lobby.enter(([10, 0, 0, last], 1).into(), stage)
}

fn is_away(guest: &Guest) -> bool {
    guest.leave.is_cancelled()
}

fn away(guests: &[Guest]) -> Vec<usize> {
    let away = guests.iter().enumerate().filter(|(_, guest)| is_away(guest));
    away.map(|(place, _)| place).collect()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_stranger_of_the_source_that_has_too_many_goes() {
    let lobby = lobby();
    let first = enter(&lobby, 2, Stage::Stranger);
    let second = enter(&lobby, 1, Stage::Stranger);
    let third = enter(&lobby, 1, Stage::Stranger);
    let fourth = enter(&lobby, 1, Stage::Stranger);
    assert_eq!(
        [&first, &second, &third, &fourth].map(is_away),
        [false, true, false, false],
        "the flood pays for itself"
    );
    // One more source, and there are too many in all: the flood pays for that, too.
    let fifth = enter(&lobby, 3, Stage::Stranger);
    assert_eq!(
        [&first, &third, &fourth, &fifth].map(is_away),
        [false, true, false, false]
    );
    drop((first, second, third, fourth, fifth));
    let state = lobby.lock();
    assert!(
        state.stages.strangers.is_empty() && state.guests.is_empty(),
        "nothing is left of them"
    );
}

/// HIGH 1: three addresses with two each are no source that has too many, and the oldest of all went.
#[tokio::test(start_paused = true)]
async fn a_stranger_alone_at_its_address_stays_whatever_others_do() {
    let few = Most {
        per_source: 3,
        in_all: 6,
    };
    for stage in [Stage::Silent, Stage::Stranger] {
        let lobby = of(FEW, few);
        let honest = enter(&lobby, 9, stage);
        let mut flood = Vec::new();
        for n in 0..30 {
            tokio::time::advance(YOUNG).await;
            flood.push(enter(&lobby, n % 3, stage));
        }
        assert!(!is_away(&honest), "{stage:?}");
        assert_eq!(away(&flood), (0..25).collect::<Vec<_>>(), "{stage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_networks_have_one_the_oldest_stranger_that_asks_for_nothing_goes() {
    let lobby = lobby();
    let busy = Activity::new();
    let _call = busy.begin();
    let asks = enter(&lobby, 1, Stage::Stranger);
    asks.is_served(&busy);
    let idle = enter(&lobby, 2, Stage::Stranger);
    idle.is_served(&Activity::new());
    let others = [3, 4].map(|last| enter(&lobby, last, Stage::Stranger));
    assert_eq!([&asks, &idle].map(is_away), [false, true]);
    assert!(away(&others).is_empty());
}

#[tokio::test(start_paused = true)]
async fn neither_who_asks_nor_who_is_about_to_is_kept_out_by_a_crowd_of_the_other_kind() {
    let four = Most {
        per_source: 4,
        in_all: 8,
    };
    let busy = Activity::new();
    let _call = busy.begin();
    // One that asks, among many of its address that do not.
    let lobby = of(FEW, four);
    let asks = enter(&lobby, 1, Stage::Stranger);
    asks.is_served(&busy);
    let quiet: Vec<Guest> = (0..10).map(|_| enter(&lobby, 1, Stage::Stranger)).collect();
    assert!(!is_away(&asks));
    assert_eq!(away(&quiet), (0..7).collect::<Vec<_>>());
    // And one that has just come, among many that ask for something without an end.
    let lobby = of(FEW, four);
    let ask = || {
        let guest = enter(&lobby, 1, Stage::Stranger);
        guest.is_served(&busy);
        guest
    };
    let mut crowd: Vec<Guest> = (0..4).map(|_| ask()).collect();
    let about_to = enter(&lobby, 1, Stage::Stranger);
    crowd.extend((0..10).map(|_| ask()));
    assert!(is_away(&crowd[0]) && !is_away(&crowd[13]));
    assert!(!is_away(&about_to));
}

#[tokio::test(start_paused = true)]
async fn the_young_may_be_twice_as_many_before_one_goes() {
    let lobby = lobby();
    let young: Vec<Guest> = (0..4).map(|_| enter(&lobby, 1, Stage::Silent)).collect();
    assert!(young.iter().all(|guest| !is_away(guest)));
    let fifth = enter(&lobby, 1, Stage::Silent);
    assert!(is_away(&young[0]) && !is_away(&fifth));
    tokio::time::advance(YOUNG).await;
    let sixth = enter(&lobby, 1, Stage::Silent);
    assert!(is_away(&young[1]) && !is_away(&sixth));
}

/// The oldest greetings are those in a slot: a flood sent its own away as fast as it could begin others.
#[tokio::test(start_paused = true)]
async fn who_is_in_a_slot_stays_and_the_newest_in_line_of_the_most_crowded_source_is_refused() {
    let lobby = lobby();
    let mut inside = Vec::new();
    for last in 1..=3 {
        let guest = enter(&lobby, last, Stage::Greeting);
        let slot = guest.slot().await.unwrap();
        inside.push((guest, slot));
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut line = vec![enter(&lobby, 1, Stage::Greeting), enter(&lobby, 1, Stage::Greeting)];
    assert!(inside.iter().all(|(guest, _)| !is_away(guest)) && away(&line).is_empty());
    // One more than its source may have.
    line.push(enter(&lobby, 1, Stage::Greeting));
    assert_eq!(away(&line), [2]);
    // And more than there may be in all: not who has just come, of whose source nobody else waits.
    line.push(enter(&lobby, 2, Stage::Greeting));
    line.push(enter(&lobby, 4, Stage::Greeting));
    assert_eq!(away(&line), [1, 2]);
    assert!(inside.iter().all(|(guest, _)| !is_away(guest)));
    drop((inside, line));
    let state = lobby.lock();
    assert!(
        state.guests.is_empty() && state.lines.is_empty(),
        "nothing is left of them"
    );
}

#[tokio::test(start_paused = true)]
async fn one_source_never_has_every_slot() {
    let lobby = lobby();
    let guests: Vec<Guest> = (0..2).map(|_| enter(&lobby, 1, Stage::Greeting)).collect();
    let _first = guests[0].slot().await.unwrap();
    let _second = guests[1].slot().await.unwrap();
    let third = enter(&lobby, 1, Stage::Greeting);
    let waits = tokio::time::timeout(Duration::from_secs(1), third.slot()).await;
    assert!(waits.is_err(), "the third waits");
    let other = enter(&lobby, 2, Stage::Greeting);
    assert!(other.slot().await.is_some());
    assert!(guests[0].patience(Duration::from_secs(10)) < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_at_the_door_gets_no_slot_and_leaves_no_line() {
    let lobby = lobby();
    let guest = enter(&lobby, 1, Stage::Greeting);
    lobby.lock().let_go(guest.number);
    assert!(guest.slot().await.is_none());
    assert!(lobby.lock().lines.is_empty());
}
