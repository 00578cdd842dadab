//! Wishes to cancel, refusals, lateness and silence.

use super::*;

#[test]
fn a_noted_wish_to_cancel_keeps_everything_from_starting() {
    let release = Event::Release { deadline: None };
    for (state, event) in [
        (S::Held, release),
        (S::Queued, dispatch(9)),
        (S::Queued, Event::AgentAbsent),
    ] {
        let (next, effects) = step(&unwanted(state), &event, NOW).unwrap();
        assert_eq!(next.state, S::Canceled, "{state:?} + {}", event.name());
        assert_eq!(effects, [Effect::Finished]);
    }
    let late = step(&unwanted(S::Queued), &Event::QueueExpired, UnixMicros(9_000)).unwrap();
    assert_eq!(late.0.state, S::Canceled);
    // Sent once more so late that it cannot start: its agent says what it knows of it.
    for event in [dispatch(9), Event::Missing { attempt: attempt(1) }] {
        let (_, effects) = step(&unwanted(S::Dispatched), &event, NOW).unwrap();
        assert_eq!(effects, [Effect::Ask(attempt(1))]);
    }
}

#[test]
fn an_agent_that_takes_an_unwanted_attempt_hears_of_the_wish_each_time() {
    let (running, effects) = step(&unwanted(S::Dispatched), &accepted(false), NOW).unwrap();
    assert_eq!(
        (running.state, effects),
        (S::Running, vec![Effect::SendCancel(attempt(1))])
    );
    let (running, effects) = step(&running, &accepted(true), NOW).unwrap();
    assert_eq!(effects, [Effect::SendCancel(attempt(1))]);
    assert_eq!(
        step(&running, &accepted(true), NOW).unwrap().1,
        [Effect::SendCancel(attempt(1))]
    );
}

#[test]
fn an_attempt_that_was_given_up_is_told_to_end_and_keeps_its_end() {
    for state in [S::Refused, S::Expired, S::Canceled, S::Lost] {
        let (next, effects) = step(&life(state), &accepted(true), NOW).unwrap();
        assert_eq!((next, effects), (life(state), vec![Effect::SendCancel(attempt(1))]));
    }
}

#[test]
fn an_agent_may_refuse_what_it_accepted_until_it_has_started_it() {
    let refused = Event::Refused {
        attempt: attempt(1),
        reason: "NOT_STARTED".into(),
        message: "m".into(),
    };
    let (waiting, _) = step(&life(S::Dispatched), &accepted(false), NOW).unwrap();
    assert_eq!((waiting.state, waiting.started_at), (S::Running, None));
    assert_eq!(step(&waiting, &refused, NOW).unwrap().0.state, S::Refused);
    let (started, _) = step(&waiting, &accepted(true), NOW).unwrap();
    assert_eq!(started.started_at, Some(NOW));
    step(&started, &refused, NOW).unwrap_err();
    step(&started, &accepted(false), NOW).unwrap_err();
}

#[test]
fn a_refusal_for_lateness_is_an_expiry() {
    for reason in ["QUEUE_EXPIRED", "ENVELOPE_EXPIRED"] {
        let refused = Event::Refused {
            attempt: attempt(1),
            reason: reason.into(),
            message: "m".into(),
        };
        assert_eq!(step(&life(S::Dispatched), &refused, NOW).unwrap().0.state, S::Expired);
    }
}

#[test]
fn what_was_handed_over_and_never_answered_is_lost_once_its_time_is_over() {
    let unanswered = |now| step(&life(S::Dispatched), &Event::Unanswered, UnixMicros(now));
    unanswered(1_999).unwrap_err();
    let (next, effects) = unanswered(2_000).unwrap();
    assert_eq!((next.state, effects), (S::Lost, vec![Effect::Finished]));
    // It has answered.
    step(&life(S::Running), &Event::Unanswered, UnixMicros(9_000)).unwrap_err();
}

#[test]
fn nothing_is_handed_over_after_its_time() {
    let (next, effects) = step(&life(S::Queued), &dispatch(5), UnixMicros(2_000)).unwrap();
    assert_eq!((next.state, effects), (S::Expired, vec![Effect::Finished]));
}

#[test]
fn a_dispatch_may_shorten_the_time_to_start_and_never_lengthens_it() {
    let start_by = |time| Event::Dispatch {
        fresh: attempt(5),
        start_by: Some(UnixMicros(time)),
    };
    let deadline = |event| step(&life(S::Queued), &event, NOW).unwrap().0.queue_deadline;
    assert_eq!(deadline(start_by(1_500)), Some(UnixMicros(1_500)));
    assert_eq!(deadline(start_by(9_000)), Some(UnixMicros(2_000)));
    assert_eq!(deadline(dispatch(5)), Some(UnixMicros(2_000)));
}
