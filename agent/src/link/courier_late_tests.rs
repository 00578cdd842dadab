//! Tasks that come too late.

use super::*;

/// T15: the time that is left is counted from the arrival, and what a frame waited on its way counts too. That it is
/// over is said by the launcher, which knows what has run before.
#[test]
fn a_task_whose_time_to_start_is_over_is_handed_on_as_too_late() {
    let mut courier = up(&[]);
    let reason_of = |courier: &mut Courier| match frame_of(courier) {
        attach_request::Frame::Refused(refused) => refused.reason,
        other => panic!("{other:?}"),
    };
    let waited = AttemptId::new();
    let late = Duration::from_secs(30);
    assert_eq!(
        courier.admitted(late, IN_TIME, Ok(order(waited))),
        [Command::Start(Box::new(order(waited)), late)]
    );
    assert_eq!(
        courier.next_output(),
        None,
        "nothing is said before the launcher is asked"
    );
    courier.started(waited, Err(Refusal::replayed()));
    assert_eq!(reason_of(&mut courier), "ATTEMPT_REPLAYED");

    // The cloud's clock at Welcome, and an envelope signed 10 s later that takes an hour and 10 s to be read.
    let told = Welcome {
        version: 1,
        time_us: 1_000_000_000_000,
        ..Default::default()
    };
    courier.disconnected();
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    courier.frame(NOW, response(attach_response::Frame::Welcome(told)));
    let (read, id) = (Duration::from_secs(3_620), AttemptId::new());
    let mut delayed = order(id);
    delayed.envelope.issued_time_us = 1_000_010_000_000;
    let arrival = Arrival { at: read, ..IN_TIME };
    assert_eq!(
        courier.admitted(read, arrival, Ok(delayed.clone())),
        [
            Command::Start(Box::new(delayed.clone()), Duration::from_secs(40)),
            Command::Redial(Duration::ZERO)
        ],
        "a clock that was set would look the same: the next link compares anew"
    );
    courier.started(id, Err(Refusal::too_late()));
    assert_eq!(reason_of(&mut courier), "QUEUE_EXPIRED");
    // The cloud asks after what is too late anyway: no clock is in doubt for that.
    let asked = Arrival {
        ttl: Duration::ZERO,
        ..arrival
    };
    let only_asked = courier.admitted(read, asked, Ok(delayed.clone()));
    assert!(matches!(&*only_asked, [Command::Start(_, start_by)] if *start_by <= read));
    courier.started(id, Err(Refusal::too_late()));
    assert_eq!(reason_of(&mut courier), "QUEUE_EXPIRED");
    delayed.envelope.issued_time_us = 1_003_615_000_000;
    let in_time = courier.admitted(read, arrival, Ok(delayed.clone()));
    let start_by = read + Duration::from_secs(25);
    assert_eq!(in_time, [Command::Start(Box::new(delayed), start_by)]);
}
