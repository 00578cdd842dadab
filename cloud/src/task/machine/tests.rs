//! Every (state, event) pair against a table, and random lives that never leave an end.

use ExecutionState as S;
use proptest::prelude::*;

use super::*;

mod wishes;

const NOW: UnixMicros = UnixMicros(1_000);

fn attempt(n: u128) -> AttemptId {
    AttemptId::from_uuid(uuid::Uuid::from_u128(n))
}

fn life(state: S) -> Life {
    let met = !matches!(state, S::Held | S::Queued);
    Life {
        state,
        attempt: met.then(|| attempt(1)),
        number: u32::from(met),
        queue_deadline: Some(UnixMicros(2_000)),
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        outcome: None,
        verified: false,
    }
}

fn ended(state: S) -> Event {
    Event::Ended {
        attempt: attempt(1),
        outcome: nothing_ran(state, "", "", NOW),
        verified: true,
    }
}

fn dispatch(fresh: u128) -> Event {
    Event::Dispatch {
        fresh: attempt(fresh),
        start_by: None,
    }
}

fn accepted(started: bool) -> Event {
    Event::Accepted {
        attempt: attempt(1),
        started,
    }
}

fn unwanted(state: S) -> Life {
    Life {
        cancel_requested: true,
        ..life(state)
    }
}

/// One event of every kind; kinds that branch inside have a row of their own below.
fn events() -> Vec<Event> {
    vec![
        Event::Release { deadline: None },
        dispatch(9),
        accepted(true),
        Event::Refused {
            attempt: attempt(1),
            reason: "POLICY_DENIED".into(),
            message: "no".into(),
        },
        ended(S::Succeeded),
        Event::Verified { attempt: attempt(1) },
        Event::Cancel(CancelCause::Requested),
        Event::Cancel(CancelCause::RolloutStopped),
        Event::QueueExpired,
        Event::AgentAbsent,
        Event::Missing { attempt: attempt(1) },
        Event::AgentRemoved,
        Event::AgentGone,
        Event::Unanswered,
        Event::OutputRefused {
            attempt: attempt(1),
            detail: "codec 9 is unknown".into(),
        },
        Event::Retry {
            of: Some(attempt(1)),
            fresh: attempt(9),
            deadline: None,
            hold: false,
        },
    ]
}

/// Rows as in [`S::ALL`], columns as in [`events`]: `.` means illegal, `=` the same state, a letter the new state.
#[rustfmt::skip]
const TABLE: [(S, &str); 11] = [
    //                rel dis acc ref end ver can stp exp abs mis rem gon una out ret
    (S::Held,       "  q   .   .   .   .   .   c   c   .   .   .   c   .   .   .   . "),
    (S::Queued,     "  .   d   .   .   .   .   c   c   .   x   .   c   .   .   .   . "),
    (S::Dispatched, "  .   =   r   f   s   .   =   .   .   .   =   l   l   .   l   . "),
    (S::Running,    "  .   .   =   f   s   .   =   .   .   .   l   l   l   .   l   . "),
    (S::Succeeded,  "  .   .   .   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::Failed,     "  .   .   .   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::TimedOut,   "  .   .   .   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::Canceled,   "  .   .   =   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::Refused,    "  .   .   =   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::Expired,    "  .   .   =   .   =   =   .   .   .   .   .   .   .   .   .   q "),
    (S::Lost,       "  .   .   =   .   =   =   .   .   .   .   .   .   .   .   .   q "),
];

fn state_of(letter: &str, same: S) -> Option<S> {
    Some(match letter {
        "." => return None,
        "=" => same,
        "q" => S::Queued,
        "d" => S::Dispatched,
        "r" => S::Running,
        "s" => S::Succeeded,
        "c" => S::Canceled,
        "f" => S::Refused,
        "l" => S::Lost,
        "x" => S::Expired,
        other => panic!("no such letter: {other}"),
    })
}

#[test]
fn every_pair_of_state_and_event_is_as_in_the_table() {
    assert_eq!(TABLE.map(|(state, _)| state), S::ALL);
    for (state, row) in TABLE {
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells.len(), events().len(), "{state:?}");
        for (event, cell) in events().iter().zip(cells) {
            let got = step(&life(state), event, NOW).map(|(next, _)| next.state).ok();
            assert_eq!(got, state_of(cell, state), "{state:?} + {}", event.name());
        }
    }
}

#[test]
fn events_about_another_attempt_are_illegal_everywhere() {
    for state in S::ALL {
        for event in [
            Event::Accepted {
                attempt: attempt(2),
                started: true,
            },
            Event::Refused {
                attempt: attempt(2),
                reason: String::new(),
                message: String::new(),
            },
            Event::Ended {
                attempt: attempt(2),
                outcome: nothing_ran(S::Failed, "", "", NOW),
                verified: false,
            },
            Event::Verified { attempt: attempt(2) },
            Event::Missing { attempt: attempt(2) },
        ] {
            assert!(step(&life(state), &event, NOW).is_err(), "{state:?} + {}", event.name());
        }
    }
}

#[test]
fn a_dispatch_makes_an_attempt_and_a_second_one_sends_the_same_again() {
    let (once, actions) = step(&life(S::Queued), &dispatch(5), NOW).unwrap();
    assert_eq!((once.attempt, once.number), (Some(attempt(5)), 1));
    assert_eq!(actions, [Effect::Send(attempt(5))]);
    let (twice, actions) = step(&once, &dispatch(6), NOW).unwrap();
    assert_eq!(twice, once);
    assert_eq!(actions, [Effect::Send(attempt(5))]);
}

#[test]
fn a_retry_is_another_attempt_that_keeps_nothing_of_the_old_one() {
    let (old, _) = step(&life(S::Running), &ended(S::Failed), NOW).unwrap();
    let (retried, _) = step(
        &old,
        &Event::Retry {
            of: Some(attempt(1)),
            fresh: attempt(7),
            deadline: None,
            hold: false,
        },
        NOW,
    )
    .unwrap();
    assert_eq!(
        (retried.state, retried.attempt, retried.number),
        (S::Queued, Some(attempt(7)), 2)
    );
    assert_eq!((retried.outcome.clone(), retried.finished_at), (None, None));
    let (sent, actions) = step(&retried, &dispatch(8), NOW).unwrap();
    assert_eq!((sent.attempt, sent.number), (Some(attempt(7)), 2));
    assert_eq!(actions, [Effect::Send(attempt(7))]);
}

#[test]
fn an_attempt_is_retried_once() {
    let (failed, _) = step(&life(S::Running), &ended(S::Failed), NOW).unwrap();
    let retry = |fresh| Event::Retry {
        of: Some(attempt(1)),
        fresh: attempt(fresh),
        deadline: None,
        hold: false,
    };
    let (again, _) = step(&failed, &retry(7), NOW).unwrap();
    let ended = Event::Missing { attempt: attempt(7) };
    let running = Life {
        state: S::Running,
        ..again
    };
    let (lost, _) = step(&running, &ended, NOW).unwrap();
    assert_eq!(lost.state, S::Lost);
    // Decided at the same time as the first one.
    step(&lost, &retry(8), NOW).unwrap_err();
}

#[test]
fn a_held_retry_keeps_its_attempt_until_it_is_sent() {
    let (old, _) = step(&life(S::Running), &ended(S::Failed), NOW).unwrap();
    let retry = Event::Retry {
        of: Some(attempt(1)),
        fresh: attempt(7),
        deadline: Some(UnixMicros(2_000)),
        hold: true,
    };
    let (held, _) = step(&old, &retry, NOW).unwrap();
    assert_eq!(
        (held.state, held.attempt, held.queue_deadline),
        (S::Held, Some(attempt(7)), None)
    );
    let (queued, _) = step(
        &held,
        &Event::Release {
            deadline: Some(UnixMicros(2_000)),
        },
        NOW,
    )
    .unwrap();
    let (sent, actions) = step(&queued, &dispatch(8), NOW).unwrap();
    assert_eq!((sent.state, sent.number), (S::Dispatched, 2));
    assert_eq!(actions, [Effect::Send(attempt(7))]);
}

#[test]
fn a_queue_expires_only_when_its_time_is_over() {
    assert!(step(&life(S::Queued), &Event::QueueExpired, UnixMicros(1_999)).is_err());
    let (next, actions) = step(&life(S::Queued), &Event::QueueExpired, UnixMicros(2_000)).unwrap();
    assert_eq!((next.state, actions), (S::Expired, vec![Effect::Finished]));
    let forever = Life {
        queue_deadline: None,
        ..life(S::Queued)
    };
    assert!(step(&forever, &Event::QueueExpired, UnixMicros(i64::MAX)).is_err());
}

#[test]
fn a_missing_dispatched_attempt_is_sent_again_and_asked_about_when_it_may_not_start() {
    let missing = Event::Missing { attempt: attempt(1) };
    let (same, actions) = step(&life(S::Dispatched), &missing, NOW).unwrap();
    assert_eq!((same, actions), (life(S::Dispatched), vec![Effect::Send(attempt(1))]));
    let ask = vec![Effect::Ask(attempt(1))];
    let (same, actions) = step(&unwanted(S::Dispatched), &missing, NOW).unwrap();
    assert_eq!((same, actions), (unwanted(S::Dispatched), ask.clone()));
    let (same, actions) = step(&life(S::Dispatched), &missing, UnixMicros(2_000)).unwrap();
    assert_eq!((same, actions), (life(S::Dispatched), ask));
}

#[test]
fn what_the_agent_has_had_before_and_forgot_is_lost_and_never_called_refused() {
    let replayed = Event::Refused {
        attempt: attempt(1),
        reason: "ATTEMPT_REPLAYED".into(),
        message: "m".into(),
    };
    for life in [life(S::Dispatched), unwanted(S::Dispatched), life(S::Running)] {
        for now in [NOW, UnixMicros(9_000)] {
            let (next, effects) = step(&life, &replayed, now).unwrap();
            assert_eq!((next.state, effects), (S::Lost, vec![Effect::Finished]));
        }
    }
}

#[test]
fn a_refusal_after_a_cancel_is_a_cancel() {
    let refused = Event::Refused {
        attempt: attempt(1),
        reason: "CANCELED".into(),
        message: String::new(),
    };
    assert_eq!(
        step(&unwanted(S::Dispatched), &refused, NOW).unwrap().0.state,
        S::Canceled
    );
}

#[test]
fn an_end_that_is_none_ends_nothing() {
    for state in [S::Held, S::Queued, S::Dispatched, S::Running] {
        assert!(step(&life(S::Running), &ended(state), NOW).is_err());
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = (0_u128..3).prop_map(attempt);
    let end = prop::sample::select(vec![S::Succeeded, S::Failed, S::TimedOut, S::Canceled, S::Lost]);
    let deadline = prop::option::of((0_i64..4_000).prop_map(UnixMicros));
    prop_oneof![
        deadline.clone().prop_map(|deadline| Event::Release { deadline }),
        (id.clone(), deadline).prop_map(|(fresh, start_by)| Event::Dispatch { fresh, start_by }),
        (id.clone(), any::<bool>()).prop_map(|(attempt, started)| Event::Accepted { attempt, started }),
        id.clone().prop_map(|attempt| Event::Refused {
            attempt,
            reason: "R".into(),
            message: "m".into()
        }),
        (id.clone(), end).prop_map(|(attempt, state)| Event::Ended {
            attempt,
            outcome: nothing_ran(state, "", "", NOW),
            verified: false
        }),
        id.clone().prop_map(|attempt| Event::Verified { attempt }),
        Just(Event::Cancel(CancelCause::Requested)),
        Just(Event::Cancel(CancelCause::RolloutStopped)),
        Just(Event::QueueExpired),
        id.clone().prop_map(|attempt| Event::OutputRefused {
            attempt,
            detail: "d".into()
        }),
        id.prop_map(|attempt| Event::Missing { attempt }),
        Just(Event::AgentAbsent),
        Just(Event::AgentRemoved),
        Just(Event::AgentGone),
        Just(Event::Unanswered),
    ]
}

proptest! {
    #[test]
    fn no_event_but_a_retry_leaves_an_end(
        events in prop::collection::vec((any_event(), 0_i64..4_000), 1..40),
        queued in any::<bool>(),
    ) {
        let mut life = life(if queued { S::Queued } else { S::Held });
        for (event, now) in events {
            let Ok((next, actions)) = step(&life, &event, UnixMicros(now)) else { continue };
            if life.state.is_terminal() {
                prop_assert_eq!(next.state, life.state);
                prop_assert_eq!(&next.outcome, &life.outcome);
                prop_assert!(!actions.contains(&Effect::Finished));
            }
            // An end has a time and a reason, and frees the slot once; everything else has neither.
            let ends_now = next.state.is_terminal() && !life.state.is_terminal();
            prop_assert_eq!(ends_now, actions.contains(&Effect::Finished));
            prop_assert_eq!(next.state.is_terminal(), next.outcome.is_some() && next.finished_at.is_some());
            prop_assert!(next.number >= life.number);
            // An attempt id never changes but by a new number.
            prop_assert!(next.attempt == life.attempt || next.number == life.number + 1);
            life = next;
        }
    }
}
