//! Tests of what is said of tries that come to nothing, and of when it is enough.

use std::{collections::HashMap, io};

use opslink::{locale::Language, problem::Problem};
use tonic_types::ErrorDetails;

use super::*;

/// A refusal as a cloud sends it.
fn refusal(problem: &Problem) -> Status {
    let mut details = ErrorDetails::with_error_info(problem.reason.code(), "opslink", HashMap::new());
    details.set_localized_message("en", problem.lines(Language::En));
    Status::with_error_details(problem.reason.grpc(), problem.what(Language::En), details)
}

fn full() -> Setback {
    let problem = Problem::new(Reason::TooManyStreams)
        .with("actor", "token:ci")
        .with("streams", 96);
    Setback::of(&refusal(&problem)).expect("worth waiting for")
}

fn lost() -> Setback {
    Setback::of(&Status::from_error(Box::new(io::Error::other("reset")))).expect("worth another connection")
}

fn words(patience: &mut Patience, setback: &Setback, now: Instant) -> Option<String> {
    patience.next(setback, now).expect("not yet enough").words
}

#[test]
fn a_lost_transport_is_tried_again_and_an_answer_is_not() {
    assert!(is_transient(&Status::unavailable("gone")));
    assert!(is_transient(&Status::from_error(Box::new(io::Error::other("reset")))));
    assert!(is_transient(&refusal(&Reason::Draining.into())));
    assert!(is_transient(&refusal(&Reason::TooManyStreams.into())));
    assert!(!is_transient(&Status::not_found("no such task")));
    let unknown = refusal(&Reason::TaskNotFound.into());
    assert!(!is_transient(&unknown));
    assert_eq!(Setback::of(&unknown).unwrap_err().reason, "TASK_NOT_FOUND");
}

#[test]
fn a_refusal_is_told_as_what_it_is_and_never_as_a_lost_connection() {
    let now = Instant::now();
    let told = words(&mut Patience::default(), &full(), now).expect("words");
    assert!(
        told.starts_with("token:ci has 96 watches and logs open") && told.contains("Waiting for one of them to end"),
        "{told}"
    );
    let away = Problem::new(Reason::DatabaseUnavailable).with("detail", "no route");
    let away = Setback::of(&refusal(&away)).expect("worth waiting for");
    let other = words(&mut Patience::default(), &away, now).expect("words");
    assert!(other.contains("Trying again") && !other.contains("Waiting"), "{other}");
    for told in [told, other] {
        assert!(
            !told.contains("connection lost") && told.ends_with("tasks go on meanwhile."),
            "{told}"
        );
    }
    let told = words(&mut Patience::default(), &lost(), now).expect("words");
    assert!(told.starts_with("connection lost (reset)"), "{told}");
}

#[test]
fn each_thing_is_said_once_until_something_works() {
    let (mut patience, now) = (Patience::default(), Instant::now());
    assert!(words(&mut patience, &full(), now).is_some());
    assert!(words(&mut patience, &full(), now).is_none());
    assert!(words(&mut patience, &lost(), now).is_some(), "something else");
    assert!(words(&mut patience, &full(), now).is_none());
    patience.heard(Some(&lost()));
    assert!(words(&mut patience, &full(), now).is_some());
}

/// Each try brought a line of another agent, and the same refusal: a warning ten times a second.
#[test]
fn what_is_refused_after_something_worked_is_not_said_again_and_is_waited_for_anew() {
    let (mut patience, began) = (Patience::default(), Instant::now());
    let first = patience.next(&full(), began).expect("not yet enough");
    let later = began + 2 * PATIENCE_FOR_A_PLACE;
    patience.heard(Some(&full()));
    let second = patience.next(&full(), later).expect("its time began anew");
    assert_eq!(second.words, None);
    assert!(second.pause > first.pause);
}

#[test]
fn pauses_grow_and_end_sooner_for_a_lost_cloud_than_for_a_place() {
    for (setback, enough) in [(lost(), PATIENCE), (full(), PATIENCE_FOR_A_PLACE)] {
        let (mut patience, began) = (Patience::default(), Instant::now());
        let mut now = began;
        let mut pauses = Vec::new();
        while let Some(step) = patience.next(&setback, now) {
            now += step.pause;
            pauses.push(step.pause);
        }
        assert!(pauses.is_sorted());
        assert_eq!(
            (pauses.first(), pauses.last()),
            (Some(&FIRST_PAUSE), Some(&LONGEST_PAUSE))
        );
        let waited = now - began;
        assert!(waited > enough && waited <= enough + LONGEST_PAUSE, "{waited:?}");
    }
}

/// The command ended: it had waited for the place for longer than it waits for a cloud.
#[test]
fn what_waits_for_a_place_has_its_whole_patience_with_a_cloud_that_restarts() {
    let began = Instant::now();
    let draining = Setback::of(&refusal(&Reason::Draining.into())).expect("worth waiting for");
    let mut patience = Patience::default();
    let mut after = |secs, setback: &Setback| patience.next(setback, began + Duration::from_secs(secs)).is_some();
    assert!(after(0, &full()));
    assert!(after(600, &draining), "it had waited for something else");
    assert!(after(610, &full()));
    // The second restart is not the first one.
    assert!(after(1_200, &lost()));
    assert!(after(1_500, &draining));
    assert!(!after(1_501, &lost()), "a cloud that stays away");
    assert!(after(3_600, &full()));
    assert!(!after(3_601, &full()), "the place was waited for from the beginning on");
}

#[tokio::test]
async fn a_stream_that_is_refused_for_now_is_opened_when_there_is_room() {
    let tries = std::cell::Cell::new(0);
    let open = async || {
        tries.set(tries.get() + 1);
        match tries.get() {
            1 => Err(refusal(&Reason::TooManyStreams.into())),
            _ => Ok(Response::new("open")),
        }
    };
    assert_eq!(opened(open).await, Ok("open"));
    assert_eq!(tries.get(), 2);
    let unknown = opened(async || Err::<Response<()>, _>(refusal(&Reason::TaskNotFound.into()))).await;
    assert_eq!(unknown.unwrap_err().reason, "TASK_NOT_FOUND");
}
