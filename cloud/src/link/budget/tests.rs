//! Budgets against floods, and what is cut of what an agent says.

use prost::Message;

use super::*;

#[test]
fn a_flood_of_frames_waits_and_what_an_honest_agent_says_does_not() {
    let now = Instant::now();
    let mut budget = Budget::new(now);
    for _ in 0..FRAMES_BURST {
        assert_eq!(budget.frame(now), None);
    }
    let until = budget.frame(now).expect("a wait");
    assert_eq!(until - now, FRAME_EVERY);
    // 100,000 in 7 s were lines of the log once; now they take 23 s, and an honest second passes at once after it.
    for _ in 0..100_000 {
        budget.frame(now);
    }
    let until = budget.frame(now).expect("a wait");
    assert!(until - now > Duration::from_secs(20));
    assert_eq!(budget.frame(until + Duration::from_secs(3)), None);
}

#[test]
fn facts_are_told_some_times_and_unknown_frames_make_few_lines() {
    let now = Instant::now();
    let mut budget = Budget::new(now);
    let mut facts = Facts::new(now);
    let told = (0..1_000).filter(|_| facts.take(now)).count();
    assert_eq!(told, FACTS_BURST as usize);
    assert!(facts.take(now + FACTS_EVERY), "and again after a while");
    assert!(!facts.is_full(now + FACTS_EVERY));
    assert!(facts.is_full(now + 2 * FACTS_BURST * FACTS_EVERY));
    let said: Vec<_> = (0..100_000).map(|_| budget.unknown()).collect();
    assert_eq!(
        said.iter().filter(|(answer, _)| *answer).count() as u64,
        UNKNOWN_ANSWERED
    );
    assert_eq!(said.iter().filter(|(_, line)| *line).count(), 17);
}

#[test]
fn a_resend_is_free_and_saying_the_same_without_end_is_not() {
    let now = Instant::now();
    let mut vain = Vain::new(now);
    assert!(vain.is_full(now));
    assert!((0..VAIN_BURST).all(|_| vain.take(now)));
    assert!((0..100_000).all(|_| !vain.take(now)));
    // What was above it is not owed.
    let later = now + Duration::from_secs(1);
    assert_eq!((0..1_000).filter(|_| vain.take(later)).count(), 50);
    assert!(!vain.is_full(later));
    let rested = later + VAIN_EVERY * VAIN_BURST;
    assert!(vain.is_full(rested));
    assert!((0..VAIN_BURST).all(|_| vain.take(rested)));
}

fn digest(stream: pb::Stream, hash_len: usize) -> pb::StreamDigest {
    pb::StreamDigest {
        stream: stream.into(),
        bytes: 1,
        blake3: vec![7; hash_len].into(),
    }
}

#[test]
fn an_outcome_has_one_digest_a_stream() {
    let (out, err) = (pb::Stream::Stdout, pb::Stream::Stderr);
    let check = |streams: &[pb::StreamDigest], events: Option<usize>| {
        let outcome = pb::Outcome {
            streams: streams.to_vec(),
            events: events.map(|hash_len| pb::EventsDigest {
                version: 1,
                count: 1,
                blake3: vec![7; hash_len].into(),
            }),
            ..Default::default()
        };
        let mut chunk = pb::LogChunk {
            outcome: Some(outcome),
            ..Default::default()
        };
        bound_chunk(&mut chunk).map_err(|problem| problem.reason)
    };
    let invalid = Err(Reason::ChunkInvalid);
    assert_eq!(check(&[], None), Ok(()));
    assert_eq!(check(&[digest(out, 32), digest(err, 32)], Some(32)), Ok(()));
    assert_eq!(check(&vec![pb::StreamDigest::default(); 1_000], None), invalid);
    assert_eq!(check(&[digest(out, 32), digest(out, 32)], None), invalid, "one twice");
    assert_eq!(check(&[digest(err, 31)], None), invalid);
    assert_eq!(check(&[digest(err, 3 << 20)], None), invalid);
    assert_eq!(check(&[], Some(33)), invalid);
}

#[test]
fn a_chunk_that_waits_keeps_nothing_of_its_frame() {
    let frame = Bytes::from(vec![7; 3 << 20]);
    let is_of_frame = |bytes: &Bytes| frame.as_ptr_range().contains(&bytes.as_ptr());
    let outcome = pb::Outcome {
        reason: "R".repeat(1 << 20),
        message: "m".repeat(1 << 20),
        streams: vec![pb::StreamDigest {
            blake3: frame.slice(..32),
            ..digest(pb::Stream::Stdout, 0)
        }],
        ..Default::default()
    };
    let mut chunk = pb::LogChunk {
        payload: frame.slice(100..110),
        outcome: Some(outcome),
        ..Default::default()
    };
    assert!(is_of_frame(&chunk.payload));
    bound_chunk(&mut chunk).unwrap();
    assert_eq!(chunk.payload, vec![7; 10]);
    let outcome = chunk.outcome.unwrap();
    assert!(!is_of_frame(&chunk.payload) && !is_of_frame(&outcome.streams[0].blake3));
    assert_eq!((outcome.reason.len(), outcome.message.len()), (REASON_MAX, MESSAGE_MAX));
    assert!(outcome.reason.capacity() + outcome.message.capacity() < 16 << 10);
}

#[test]
fn very_many_connections_take_no_more_memory_than_a_few_long_ones() {
    let connection = |bytes: usize| pb::Connection {
        name: "c".repeat(bytes),
        kind: String::new(),
        is_default: false,
    };
    // As the directory keeps them; an allocation takes 16 bytes more than was asked for.
    let kept = |hello: &pb::Hello| -> usize {
        let texts = hello
            .connections
            .iter()
            .map(|one| one.name.capacity() + one.kind.capacity() + 2 * 16);
        size_of::<(String, String, bool)>() * hello.connections.capacity() + texts.sum::<usize>()
    };
    for (count, bytes) in [(1, 256), (100, 256), (20_000, 1)] {
        let mut hello = pb::Hello {
            connections: vec![connection(bytes); count],
            ..Default::default()
        };
        bound_hello(&mut hello).unwrap();
        assert!(!hello.connections.is_empty());
        assert!(
            kept(&hello) <= 56 << 10,
            "{count} of {bytes} bytes: {} bytes",
            kept(&hello)
        );
    }
}

#[test]
fn what_an_agent_says_about_itself_stays_readable_for_everybody() {
    let huge = "é".repeat(200_000);
    let mut hello = pb::Hello {
        facts: Some(pb::Facts {
            hostname: huge.clone(),
            os: huge.clone(),
            arch: huge.clone(),
            kernel: huge.clone(),
            agent_version: huge.clone(),
            capabilities: vec![huge.clone(); 1_000],
            ..Default::default()
        }),
        connections: (0..10_000)
            .map(|n| pb::Connection {
                name: format!("c{n}"),
                kind: huge.clone(),
                is_default: false,
            })
            .collect(),
        process_nonce: huge,
        ..Default::default()
    };
    bound_hello(&mut hello).unwrap();
    assert!(hello.encoded_len() < 64 << 10, "{}", hello.encoded_len());
    assert_eq!(hello.connections.len(), CONNECTIONS_MAX);
    hello.attempts = vec![pb::AttemptReport::default(); ATTEMPTS_MAX + 1];
    let refused = bound_hello(&mut hello).unwrap_err();
    assert_eq!(refused.reason, Reason::AgentReportTooLarge);
}
