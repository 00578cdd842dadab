//! Journals that cannot be read for a while.

use super::*;

/// The only attempt has ended, and its journal cannot be read, again and again. Returns the time by then.
fn fail(courier: &mut Courier, id: AttemptId, mut now: Duration, rests: &[u64]) -> Duration {
    for rest in rests.iter().copied().map(Duration::from_secs) {
        courier.unreadable(now, id);
        // What is new meanwhile gives it no turn.
        assert_eq!(courier.changed(id, Phase::Ended), []);
        courier.wake(now + rest - Duration::from_millis(1));
        assert!(!courier.has_output(), "it rests for {rest:?}");
        assert_eq!(courier.next_output(), None);
        now += rest;
        courier.wake(now);
        assert!(courier.has_output(), "it rests for no more than {rest:?}");
        assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
    }
    now
}

#[test]
fn a_journal_that_cannot_be_read_is_tried_again_ever_more_slowly_until_its_end_is_sent() {
    let id = AttemptId::new();
    let mut courier = up(&[id]);
    courier.changed(id, Phase::Ended);
    assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
    let now = fail(&mut courier, id, NOW, &[1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(courier.chunk(id, Some(chunk_of(id, 0, 1, false))).is_some());
    // It could be read: the next failure is a first one.
    assert_eq!(courier.next_output(), Some(Output::Read(id, 1)));
    courier.unreadable(now, id);
    courier.wake(now + Duration::from_secs(1));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 1)));
    assert!(courier.chunk(id, Some(chunk_of(id, 1, 1, true))).is_some());
    assert_eq!(courier.next_output(), None, "after the end nothing follows");
}

#[test]
fn the_link_is_woken_when_the_first_rest_is_over_and_others_keep_their_turns() {
    let (a, b) = (AttemptId::new(), AttemptId::new());
    let mut courier = up(&[a, b]);
    assert_eq!(courier.next_output(), Some(Output::Read(a, 0)));
    courier.unreadable(NOW, a);
    assert_eq!(courier.deadline(NOW), Some(Duration::from_secs(1)));
    assert_eq!(courier.next_output(), Some(Output::Read(b, 0)));
    courier.unreadable(Duration::from_millis(500), b);
    assert_eq!(courier.deadline(NOW), Some(Duration::from_secs(1)));
    courier.wake(Duration::from_secs(2));
    assert_eq!(courier.next_output(), Some(Output::Read(a, 0)));
    courier.chunk(a, None);
    assert_eq!(courier.next_output(), Some(Output::Read(b, 0)));
    courier.chunk(b, None);
    assert!(
        courier.deadline(NOW) > Some(Duration::from_secs(2)),
        "nobody rests any more"
    );
}

#[test]
fn a_new_link_tries_again_at_once() {
    let id = AttemptId::new();
    let mut courier = up(&[id]);
    assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
    courier.unreadable(NOW, id);
    courier.disconnected();
    assert_eq!(courier.deadline(NOW), None);
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    courier.frame(NOW, welcome(vec![wanted(id, 0)]));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
}
