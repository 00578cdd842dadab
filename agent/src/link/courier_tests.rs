//! The courier against a model cloud that drops links, forgets commits and asks again.

use std::collections::BTreeMap;

use opslink::pb::{Ack, AttemptWanted, Ping, Welcome};
use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::ZERO;

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
    AttemptWanted { attempt_id: id.to_string(), next_seq, ..Default::default() }
}

fn ack(id: AttemptId, next_seq: u64, archived: bool) -> AttachResponse {
    response(attach_response::Frame::Ack(Ack { attempt_id: id.to_string(), next_seq, archived }))
}

fn order(id: AttemptId) -> Order {
    let envelope = pb::TaskEnvelope { attempt_id: id.to_string(), ..Default::default() };
    Order { id, signed: SignedEnvelope::default(), envelope }
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
    let known: Vec<Known> = ids.iter().map(|id| Known { id: *id, phase: Phase::Running, next_seq: 0 }).collect();
    let mut courier = Courier::new(&known);
    courier.connected(NOW, Hello::default(), |_| 0);
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Hello(_)));
    assert_eq!(courier.frame(NOW, welcome(ids.iter().map(|id| wanted(*id, 0)).collect())), []);
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
    let mut courier = Courier::new(&[Known { id, phase: Phase::Running, next_seq: 3 }]);
    assert!(!courier.has_output());
    courier.connected(NOW, Hello::default(), |_| 3);
    courier.changed(id, Phase::Ended);
    let attach_request::Frame::Hello(hello) = frame_of(&mut courier) else { panic!() };
    assert_eq!(hello.attempts[0].next_seq, 3);
    assert_eq!((hello.min_version, hello.max_version), (MIN_VERSION, MAX_VERSION));
    assert_eq!(courier.next_output(), None);
    courier.frame(NOW, welcome(vec![wanted(id, 2)]));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 2)));
}

#[test]
fn a_task_is_started_once_and_a_second_delivery_is_answered_with_its_phase() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    assert_eq!(courier.admitted(Ok(order(id))), [Command::Start(Box::new(order(id)))]);
    assert_eq!(courier.admitted(Ok(order(id))), []);
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else { panic!() };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Accepted);
    courier.started(id, Ok(()));
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else { panic!() };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Running);
    courier.changed(id, Phase::Ended);
    assert_eq!(courier.admitted(Ok(order(id))), []);
    let attach_request::Frame::Accepted(accepted) = frame_of(&mut courier) else { panic!() };
    assert_eq!(accepted.phase(), pb::AttemptPhase::Ended);
}

#[test]
fn a_refusal_survives_the_loss_of_the_link_and_leaves_after_hello() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    courier.admitted(Ok(order(id)));
    courier.disconnected();
    courier.started(id, Err(Refusal { reason: "DISK_FULL", message: String::new() }));
    courier.connected(NOW, Hello::default(), |_| 0);
    let attach_request::Frame::Hello(hello) = frame_of(&mut courier) else { panic!() };
    assert_eq!(hello.attempts, []);
    courier.frame(NOW, welcome(vec![]));
    let attach_request::Frame::Refused(refused) = frame_of(&mut courier) else { panic!() };
    assert_eq!(refused.reason, "DISK_FULL");
}

#[test]
fn a_damaged_copy_of_a_running_task_is_not_answered_with_a_refusal() {
    let id = AttemptId::new();
    let mut courier = up(&[]);
    courier.admitted(Ok(order(id)));
    let refusal = Refusal { reason: "ENVELOPE_INVALID", message: String::new() };
    courier.admitted(Err(NotObeyed { attempt: Some(id), refusal }));
    assert_eq!(courier.next_output(), None);
}

#[test]
fn pings_pass_chunks() {
    let id = AttemptId::new();
    let mut courier = up(&[id]);
    courier.changed(id, Phase::Running);
    courier.frame(NOW, response(attach_response::Frame::Ping(Ping { nonce: 5 })));
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Pong(Pong { nonce: 5 })));
    assert_eq!(courier.next_output(), Some(Output::Read(id, 0)));
}

#[test]
fn attempts_take_turns_and_a_closed_window_waits_for_its_ack() {
    let (a, b) = (AttemptId::new(), AttemptId::new());
    let mut courier = up(&[a, b]);
    let mut sent = Vec::new();
    while let Some(Output::Read(id, seq)) = courier.next_output() {
        courier.chunk(id, Some(chunk_of(id, seq, 50, false))).unwrap();
        sent.push((id, seq));
    }
    assert_eq!(sent, [(a, 0), (b, 0), (a, 1), (b, 1)], "100 bytes of credit each, in turns");
    assert_eq!(courier.frame(NOW, ack(b, 1, false)), [Command::Acknowledged(b, 1)]);
    assert_eq!(courier.next_output(), Some(Output::Read(b, 2)));
    courier.chunk(b, None);
    let credit = pb::Credit { attempt_id: a.to_string(), bytes: 1 };
    courier.frame(NOW, response(attach_response::Frame::Credit(credit)));
    assert_eq!(courier.next_output(), Some(Output::Read(a, 2)));
}

#[test]
fn welcome_and_ack_may_end_an_attempt_for_good_or_ask_for_its_cancel() {
    let (a, b, c) = (AttemptId::new(), AttemptId::new(), AttemptId::new());
    let mut courier = up(&[a, b, c]);
    courier.disconnected();
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    let archived = AttemptWanted { archived: true, ..wanted(a, 1) };
    let cancel = AttemptWanted { cancel: true, ..wanted(b, 0) };
    let commands = courier.frame(NOW, welcome(vec![archived, cancel, wanted(c, 0)]));
    assert_eq!(commands, [Command::Forget(a), Command::Cancel(b)]);
    assert_eq!(courier.frame(NOW, ack(c, 1, true)), [Command::Forget(c)]);
    assert_eq!(courier.next_output(), Some(Output::Read(b, 0)));
    courier.chunk(b, None);
    assert_eq!(courier.next_output(), None);
}

#[test]
fn what_is_not_understood_is_answered_and_the_link_lives() {
    let mut courier = up(&[]);
    assert_eq!(courier.frame(NOW, AttachResponse { frame: None }), []);
    assert!(matches!(frame_of(&mut courier), attach_request::Frame::Unimplemented(_)));
    assert!(courier.is_up());
    courier.frame(NOW, ack(AttemptId::new(), 7, false));
    courier.frame(NOW, response(attach_response::Frame::Ack(Ack { attempt_id: "?".into(), ..Default::default() })));
    assert_eq!(courier.next_output(), None);
}

#[test]
fn three_missed_heartbeats_are_a_dead_link() {
    let mut courier = up(&[]);
    assert!(!courier.is_dead(Duration::from_secs(44)));
    courier.frame(Duration::from_secs(44), response(attach_response::Frame::Ping(Ping { nonce: 1 })));
    assert!(!courier.is_dead(Duration::from_secs(88)));
    assert!(courier.is_dead(Duration::from_secs(89)));
}

#[test]
fn a_version_that_this_agent_does_not_speak_ends_the_link() {
    let mut courier = Courier::new(&[]);
    courier.connected(NOW, Hello::default(), |_| 0);
    frame_of(&mut courier);
    let answer = response(attach_response::Frame::Welcome(Welcome { version: 9, ..Default::default() }));
    assert_eq!(courier.frame(NOW, answer), [Command::Incompatible(9)]);
}

/// A cloud that stores chunks, acknowledges late, may lose commits when the link breaks, and archives at the end.
#[derive(Default)]
struct Cloud {
    stored: BTreeMap<AttemptId, Vec<LogChunk>>,
    archived: Vec<AttemptId>,
}

impl Cloud {
    fn next_seq(&self, id: AttemptId) -> u64 {
        self.stored.get(&id).map_or(0, |chunks| chunks.len() as u64)
    }

    fn receive(&mut self, frame: AttachRequest) {
        let Some(attach_request::Frame::Chunk(chunk)) = frame.frame else { return };
        let id: AttemptId = chunk.attempt_id.parse().unwrap();
        assert!(!self.archived.contains(&id), "a chunk after archived");
        let stored = self.stored.entry(id).or_default();
        // Duplicates are dropped; a gap would be a bug of the courier.
        assert!(chunk.first_seq <= stored.len() as u64, "gap: {} after {}", chunk.first_seq, stored.len());
        if chunk.first_seq == stored.len() as u64 {
            stored.push(chunk);
        }
    }

    fn is_whole(&self, id: AttemptId) -> bool {
        self.stored.get(&id).and_then(|chunks| chunks.last()).is_some_and(|last| last.outcome.is_some())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Produce(usize, u64),
    Send(usize),
    Ack(usize),
    LoseFramesAndReconnect { sent_but_lost: usize, commits_lost: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, 1..80u64).prop_map(|(at, size)| Step::Produce(at, size)),
        4 => (1..6usize).prop_map(Step::Send),
        2 => (0..3usize).prop_map(Step::Ack),
        1 => (0..4usize, 0..3usize).prop_map(|(sent_but_lost, commits_lost)| Step::LoseFramesAndReconnect { sent_but_lost, commits_lost }),
    ]
}

struct World {
    courier: Courier,
    cloud: Cloud,
    ids: Vec<AttemptId>,
    journal: BTreeMap<AttemptId, Vec<LogChunk>>,
    forgotten: Vec<AttemptId>,
}

impl World {
    fn new() -> Self {
        let ids: Vec<AttemptId> = (0..3).map(|_| AttemptId::new()).collect();
        let mut world = Self {
            courier: up(&ids),
            cloud: Cloud::default(),
            journal: ids.iter().map(|id| (*id, Vec::new())).collect(),
            ids,
            forgotten: Vec::new(),
        };
        world.send(usize::MAX);
        world
    }

    fn produce(&mut self, at: usize, raw_size: u64, end: bool) {
        let id = self.ids[at];
        let chunks = self.journal.get_mut(&id).unwrap();
        if chunks.last().is_some_and(|last| last.outcome.is_some()) {
            return;
        }
        chunks.push(chunk_of(id, chunks.len() as u64, raw_size, end));
        self.courier.changed(id, if end { Phase::Ended } else { Phase::Running });
    }

    /// Moves up to `limit` outputs to the cloud; returns how many frames went.
    fn send(&mut self, limit: usize) -> usize {
        let mut sent = 0;
        while sent < limit
            && let Some(frame) = self.next_frame()
        {
            sent += 1;
            self.cloud.receive(frame);
        }
        sent
    }

    fn next_frame(&mut self) -> Option<AttachRequest> {
        loop {
            match self.courier.next_output()? {
                Output::Frame(frame) => return Some(frame),
                Output::Read(id, seq) => {
                    let chunk = self.journal[&id].get(usize::try_from(seq).unwrap()).cloned();
                    if let Some(frame) = self.courier.chunk(id, chunk) {
                        return Some(frame);
                    }
                }
            }
        }
    }

    fn ack(&mut self, at: usize) {
        let id = self.ids[at];
        if self.cloud.archived.contains(&id) {
            return;
        }
        let archived = self.cloud.is_whole(id);
        if archived {
            self.cloud.archived.push(id);
        }
        let commands = self.courier.frame(NOW, ack(id, self.cloud.next_seq(id), archived));
        self.obey(commands);
    }

    fn reconnect(&mut self, sent_but_lost: usize, commits_lost: usize) {
        for _ in 0..sent_but_lost {
            self.next_frame();
        }
        for (id, chunks) in &mut self.cloud.stored {
            if !self.cloud.archived.contains(id) {
                chunks.truncate(chunks.len().saturating_sub(commits_lost));
            }
        }
        self.courier.disconnected();
        let journal = &self.journal;
        self.courier.connected(NOW, Hello::default(), |id| journal[&id].len() as u64);
        let attach_request::Frame::Hello(hello) = frame_of(&mut self.courier) else { panic!() };
        let wanted = hello.attempts.iter().map(|report| {
            let id = report.attempt_id.parse().unwrap();
            AttemptWanted { archived: self.cloud.archived.contains(&id), ..wanted(id, self.cloud.next_seq(id)) }
        });
        let welcome = welcome(wanted.collect());
        let commands = self.courier.frame(NOW, welcome);
        self.obey(commands);
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Forget(id) => self.forgotten.push(id),
                Command::Acknowledged(id, next_seq) => assert!(next_seq <= self.cloud.next_seq(id)),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_the_link_the_cloud_ends_up_with_the_same_bytes(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Produce(at, size) => world.produce(at, size, false),
                Step::Send(limit) => drop(world.send(limit)),
                Step::Ack(at) => world.ack(at),
                Step::LoseFramesAndReconnect { sent_but_lost, commits_lost } => {
                    world.reconnect(sent_but_lost, commits_lost);
                }
            }
        }
        (0..3).for_each(|at| world.produce(at, 1, true));
        // From here on the network works: everything must arrive, in a bounded number of rounds.
        for _ in 0..200 {
            world.send(usize::MAX);
            (0..3).for_each(|at| world.ack(at));
        }
        prop_assert_eq!(&world.cloud.stored, &world.journal);
        let mut forgotten = world.forgotten.clone();
        forgotten.sort();
        let mut ids = world.ids.clone();
        ids.sort();
        prop_assert_eq!(forgotten, ids, "each journal entry went exactly once");
    }
}
