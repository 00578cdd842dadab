//! The courier, situation by situation. See `model` for what no list of situations covers.

use opslink::pb::{Ack, AttemptWanted, LogChunk, Ping, SignedEnvelope, Welcome};

use super::*;
use crate::policy::Permit;

const NOW: Duration = Duration::ZERO;

const IN_TIME: Arrival = Arrival {
    at: NOW,
    ttl: Duration::from_secs(30),
};

fn response(frame: attach_response::Frame) -> AttachResponse {
    AttachResponse { frame: Some(frame) }
}

fn welcome(attempts: Vec<AttemptWanted>) -> AttachResponse {
    let welcome = Welcome {
        version: 1,
        session_epoch: 1,
        attempts,
        initial_credit_bytes: 100,
        heartbeat_secs: 15,
        time_us: 0,
    };
    response(attach_response::Frame::Welcome(welcome))
}

fn wanted(id: AttemptId, next_seq: u64) -> AttemptWanted {
    AttemptWanted {
        attempt_id: id.to_string(),
        next_seq,
        ..Default::default()
    }
}

fn ack(id: AttemptId, next_seq: u64, archived: bool) -> AttachResponse {
    response(attach_response::Frame::Ack(Ack {
        attempt_id: id.to_string(),
        next_seq,
        archived,
    }))
}

fn order(id: AttemptId) -> Order {
    let envelope = pb::TaskEnvelope {
        attempt_id: id.to_string(),
        ..Default::default()
    };
    Order {
        id,
        signed: SignedEnvelope::default(),
        envelope,
        permit: Permit::default(),
        start_by: None,
    }
}

fn chunk_of(id: AttemptId, first_seq: u64, raw_size: u64, end: bool) -> LogChunk {
    LogChunk {
        attempt_id: id.to_string(),
        first_seq,
        event_count: 1,
        raw_size,
        payload: first_seq.to_le_bytes().to_vec().into(),
        outcome: end.then(pb::Outcome::default),
        ..Default::default()
    }
}

/// A courier that is up, with these running attempts.
fn up(ids: &[AttemptId]) -> Courier {
    let known: Vec<Known> = ids
        .iter()
        .map(|id| Known {
            id: *id,
            phase: Phase::Running,
            next_seq: 0,
        })
        .collect();
    let mut courier = Courier::new(&known);
    courier.connected(NOW, Hello::default(), |_| 0);
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Hello(_)));
    assert_eq!(
        courier.frame(NOW, welcome(ids.iter().map(|id| wanted(*id, 0)).collect())),
        []
    );
    courier
}

fn frame_of(courier: &mut Courier) -> attach_request::Frame {
    match courier.next_output() {
        Some(Output::Frame(AttachRequest { frame: Some(frame) })) => frame,
        other => panic!("expected a frame, got {other:?}"),
    }
}

#[test]
fn nothing_but_hello_leaves_before_welcome() {
    let id = AttemptId::new();
    let mut courier = Courier::new(&[Known {
        id,
        phase: Phase::Running,
        next_seq: 3,
    }]);
    assert!(!courier.has_output());
    courier.connected(NOW, Hello::default(), |_| 3);
    courier.changed(id, Phase::Ended);
    let attach_request::Frame::Hello(hello) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(hello.attempts[0].next_seq, 3);
    assert_eq!(
        (hello.min_version, hello.max_version),
        (handshake::SUPPORTED.min, handshake::SUPPORTED.max)
    );
    assert_eq!(courier.next_output(), None);
    courier.frame(NOW, welcome(vec![wanted(id, 2)]));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 2)));
}

#[test]
fn a_task_is_started_once_and_a_second_delivery_is_answered_with_its_phase() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    assert_eq!(
        courier.admitted(NOW, IN_TIME, Ok(order(id))),
        [Command::Start(Box::new(order(id)), IN_TIME.ttl)]
    );
    assert_eq!(courier.admitted(NOW, IN_TIME, Ok(order(id))), []);
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Accepted);
    courier.started(id, Ok(()));
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Running);
    courier.changed(id, Phase::Ended);
    assert_eq!(courier.admitted(NOW, IN_TIME, Ok(order(id))), []);
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Ended);
}

#[test]
fn a_cancel_is_handed_on_whether_its_attempt_is_here_or_not() {
    let (here, unknown) = (AttemptId::new(), AttemptId::new());
    let mut courier = up(&[here]);
    for id in [here, unknown] {
        let cancel = pb::Cancel {
            attempt_id: id.to_string(),
        };
        assert_eq!(
            courier.frame(NOW, response(attach_response::Frame::Cancel(cancel))),
            [Command::Cancel(id)]
        );
    }
}

#[test]
fn a_refusal_survives_the_loss_of_the_link_and_leaves_after_hello() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    courier.admitted(NOW, IN_TIME, Ok(order(id)));
    courier.disconnected();
    courier.started(
        id,
        Err(Refusal {
            reason: "DISK_FULL",
            message: String::new(),
        }),
    );
    courier.connected(NOW, Hello::default(), |_| 0);
    let attach_request::Frame::Hello(hello) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(hello.attempts, []);
    courier.frame(NOW, welcome(vec![]));
    let attach_request::Frame::Refused(refused) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!(refused.reason, "DISK_FULL");
}

/// Its task was refused while there was no link; the next one has just come up.
fn up_with_a_refusal(id: AttemptId) -> Courier {
    let mut courier = up(&[]);
    courier.admitted(NOW, IN_TIME, Ok(order(id)));
    courier.disconnected();
    let refusal = Refusal {
        reason: "DISK_FULL",
        message: String::new(),
    };
    courier.started(id, Err(refusal));
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    courier.frame(NOW, welcome(vec![]));
    courier
}

#[test]
fn a_task_that_comes_again_has_one_answer_whatever_was_said_of_it_before() {
    let id = AttemptId::new();
    let start = || [Command::Start(Box::new(order(id)), IN_TIME.ttl)];
    // The refusal waits still: what was refused may be possible now, and only the new answer leaves.
    let mut courier = up_with_a_refusal(id);
    assert_eq!(courier.admitted(NOW, IN_TIME, Ok(order(id))), start());
    courier.started(id, Ok(()));
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Accepted(_)));
    assert_eq!(courier.next_output(), None);

    // It has left, and meets the task on its way.
    let mut courier = up_with_a_refusal(id);
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Refused(_)));
    assert_eq!(courier.admitted(NOW, IN_TIME, Ok(order(id))), []);
    assert_eq!(courier.next_output(), None);
    // The cloud that asks on the next link has not heard it.
    courier.disconnected();
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    courier.frame(NOW, welcome(vec![]));
    assert_eq!(courier.admitted(NOW, IN_TIME, Ok(order(id))), start());
}

#[test]
fn a_damaged_copy_of_a_running_task_is_not_answered_with_a_refusal() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    courier.admitted(NOW, IN_TIME, Ok(order(id)));
    let refusal = Refusal {
        reason: "ENVELOPE_INVALID",
        message: String::new(),
    };
    let damaged = NotObeyed {
        attempt: Some(id),
        refusal,
    };
    courier.admitted(NOW, IN_TIME, Err(damaged));
    assert_eq!(courier.next_output(), None);
}

#[test]
fn pings_pass_chunks() {
    let id = AttemptId::new();
    let mut courier = up(&[id]);
    courier.changed(id, Phase::Running);
    courier.frame(NOW, response(attach_response::Frame::Ping(Ping { nonce: 5 })));
    assert!(matches!(
        frame_of(&mut courier),
        attach_request::Frame::Pong(Pong { nonce: 5 })
    ));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
}

#[test]
fn attempts_take_turns_and_a_closed_window_waits_for_its_ack() {
    let (a, b) = (AttemptId::new(), AttemptId::new());
    let mut courier = up(&[a, b]);
    let mut sent = Vec::new();
    while let Some(Output::Read(id, seq)) = courier.next_output() {
        if courier.chunk(id, Some(chunk_of(id, seq, 50, false))).is_some() {
            sent.push((id, seq));
        }
    }
    assert_eq!(
        sent,
        [(a, 0), (b, 0), (a, 1), (b, 1)],
        "100 bytes of credit each, in turns"
    );
    assert_eq!(courier.frame(NOW, ack(b, 1, false)), [Command::Acknowledged(b, 1)]);
    let attach_request::Frame::Chunk(held) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!((held.attempt_id, held.first_seq), (b.to_string(), 2));
    assert_eq!(courier.next_output(), Some(Output::Read(b, 3)));
    courier.chunk(b, None);
    assert_eq!(courier.frame(NOW, ack(a, 1, false)), [Command::Acknowledged(a, 1)]);
    let attach_request::Frame::Chunk(held) = frame_of(&mut courier) else {
        panic!()
    };
    assert_eq!((held.attempt_id, held.first_seq), (a.to_string(), 2));
}

#[test]
fn welcome_and_ack_may_end_an_attempt_for_good_or_ask_for_its_cancel() {
    let (a, b, c) = (AttemptId::new(), AttemptId::new(), AttemptId::new());
    let mut courier = up(&[a, b, c]);
    courier.disconnected();
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    courier.changed(a, Phase::Ended);
    let archived = AttemptWanted {
        archived: true,
        ..wanted(a, 1)
    };
    let cancel = AttemptWanted {
        cancel: true,
        ..wanted(b, 0)
    };
    let commands = courier.frame(NOW, welcome(vec![archived, cancel, wanted(c, 0)]));
    assert_eq!(commands, [Command::Forget(a), Command::Cancel(b)]);
    assert_eq!(courier.frame(NOW, ack(c, 1, true)), [Command::Forget(c)]);
    assert_eq!(courier.next_output(), Some(Output::Read(b, 0)));
    courier.chunk(b, None);
    assert_eq!(courier.next_output(), None);
}

#[test]
fn an_attempt_at_work_that_the_cloud_does_not_know_is_ended_and_then_forgotten() {
    let id = AttemptId::new();
    let mut courier = up(&[id]);
    courier.disconnected();
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    let unknown = AttemptWanted {
        archived: true,
        cancel: true,
        ..wanted(id, 0)
    };
    assert_eq!(courier.frame(NOW, welcome(vec![unknown])), [Command::Cancel(id)]);
    assert_eq!(courier.changed(id, Phase::Running), []);
    assert_eq!(courier.next_output(), None, "nobody wants its output");
    assert_eq!(courier.changed(id, Phase::Ended), [Command::Forget(id)]);
}

#[test]
fn what_is_not_understood_is_answered_and_the_link_lives() {
    let mut courier = up(&[]);
    assert_eq!(courier.frame(NOW, AttachResponse { frame: None }), []);
    assert!(matches!(
        frame_of(&mut courier),
        attach_request::Frame::Unimplemented(_)
    ));
    assert!(courier.is_up());
    courier.frame(NOW, ack(AttemptId::new(), 7, false));
    courier.frame(
        NOW,
        response(attach_response::Frame::Ack(Ack {
            attempt_id: "?".into(),
            ..Default::default()
        })),
    );
    assert_eq!(courier.next_output(), None);
}

#[test]
fn three_missed_heartbeats_are_a_dead_link() {
    let mut courier = up(&[]);
    assert_eq!(courier.dead_after(Duration::from_secs(44)), None);
    courier.frame(
        Duration::from_secs(44),
        response(attach_response::Frame::Ping(Ping { nonce: 1 })),
    );
    assert_eq!(courier.dead_after(Duration::from_secs(88)), None);
    assert_eq!(
        courier.dead_after(Duration::from_secs(90)),
        Some(Duration::from_secs(46))
    );
}

#[test]
fn a_version_that_this_agent_does_not_speak_ends_the_link() {
    let mut courier = Courier::new(&[]);
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    let answer = response(attach_response::Frame::Welcome(Welcome {
        version: 9,
        ..Default::default()
    }));
    assert_eq!(courier.frame(NOW, answer), [Command::Incompatible(9)]);
}

#[path = "courier_late_tests.rs"]
mod late;
#[path = "courier_model_tests.rs"]
mod model;
#[path = "courier_rest_tests.rs"]
mod rest;
