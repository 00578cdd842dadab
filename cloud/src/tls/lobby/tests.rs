//! Who goes, and who waits.

use super::*;

const FEW: Most = Most {
    per_source: 2,
    in_all: 3,
};

fn lobby() -> Arc<Lobby> {
    Lobby::new(Places {
        silent: FEW,
        greeting: FEW,
        slots: FEW,
        strangers: FEW,
    })
}

fn is_away(guest: &Guest) -> bool {
    guest.leave.is_cancelled()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_the_source_that_has_too_many_goes() {
    let lobby = lobby();
    let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let first = lobby.enter(there, Stage::Stranger);
    let second = lobby.enter(here, Stage::Stranger);
    let third = lobby.enter(here, Stage::Stranger);
    let fourth = lobby.enter(here, Stage::Stranger);
    assert_eq!(
        [&first, &second, &third, &fourth].map(is_away),
        [false, true, false, false],
        "the flood pays for itself"
    );
    // One more source, and there are too many in all.
    let fifth = lobby.enter("10.0.0.3:1".parse().unwrap(), Stage::Stranger);
    assert!(is_away(&first) && !is_away(&fifth));
    drop((first, second, third, fourth, fifth));
    assert!(lobby.lock().sources.is_empty(), "nothing is left of them");
}

#[tokio::test(start_paused = true)]
async fn the_young_may_be_twice_as_many_before_one_goes() {
    let lobby = lobby();
    let here: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let young: Vec<Guest> = (0..4).map(|_| lobby.enter(here, Stage::Silent)).collect();
    assert!(young.iter().all(|guest| !is_away(guest)));
    let fifth = lobby.enter(here, Stage::Silent);
    assert!(is_away(&young[0]) && !is_away(&fifth));
    tokio::time::advance(YOUNG).await;
    let sixth = lobby.enter(here, Stage::Silent);
    assert!(is_away(&young[1]) && !is_away(&sixth));
}

#[tokio::test(start_paused = true)]
async fn one_source_never_has_every_slot() {
    let lobby = lobby();
    let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let guests: Vec<Guest> = (0..3).map(|_| lobby.enter(here, Stage::Greeting)).collect();
    let _first = guests[0].slot().await.unwrap();
    let _second = guests[1].slot().await.unwrap();
    let third = tokio::time::timeout(Duration::from_secs(1), guests[2].slot()).await;
    assert!(third.is_err(), "the third waits");
    let other = lobby.enter(there, Stage::Greeting);
    assert!(other.slot().await.is_some());
    assert!(guests[0].patience(Duration::from_secs(10)) < Duration::from_secs(10));
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
