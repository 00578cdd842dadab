//! The courier against a model cloud that drops links, forgets commits and asks again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

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
        let Some(attach_request::Frame::Chunk(chunk)) = frame.frame else {
            return;
        };
        let id: AttemptId = chunk.attempt_id.parse().unwrap();
        assert!(!self.archived.contains(&id), "a chunk after archived");
        let stored = self.stored.entry(id).or_default();
        // Duplicates are dropped; a gap would be a bug of the courier.
        assert!(
            chunk.first_seq <= stored.len() as u64,
            "gap: {} after {}",
            chunk.first_seq,
            stored.len()
        );
        if chunk.first_seq == stored.len() as u64 {
            stored.push(chunk);
        }
    }

    fn is_whole(&self, id: AttemptId) -> bool {
        self.stored
            .get(&id)
            .and_then(|chunks| chunks.last())
            .is_some_and(|last| last.outcome.is_some())
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
        self.courier
            .changed(id, if end { Phase::Ended } else { Phase::Running });
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
        self.courier
            .connected(NOW, Hello::default(), |id| journal[&id].len() as u64);
        let attach_request::Frame::Hello(hello) = frame_of(&mut self.courier) else {
            panic!()
        };
        let wanted = hello.attempts.iter().map(|report| {
            let id = report.attempt_id.parse().unwrap();
            AttemptWanted {
                archived: self.cloud.archived.contains(&id),
                ..wanted(id, self.cloud.next_seq(id))
            }
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
