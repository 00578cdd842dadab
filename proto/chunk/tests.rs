//! Tests of the codec: both directions, both decoders, and damage of every kind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::*;
use crate::{
    event::{
        ColumnData, Event, EventBody, Stream, TableRows,
        testing::{any_event, any_outcome},
    },
    task::{EventsDigest, Outcome},
};

mod bomb;
mod damage;

use damage::tally_of;

fn output(data: impl Into<Bytes>) -> Event {
    Event {
        time_us: 1_700_000_000_000_000,
        body: EventBody::Output {
            stream: Stream::Stdout,
            data: data.into(),
        },
    }
}

fn seal(events: &[Event]) -> pb::LogChunk {
    let mut encoder = Encoder::new(AttemptId::new(), LEVEL);
    events.iter().for_each(|event| encoder.push(event.clone()));
    encoder.seal().unwrap()
}

/// Decodes with ruzstd, as the console does.
fn decode_portable(chunk: &pb::LogChunk) -> Result<Vec<Event>, Error> {
    check_header(chunk)?;
    inflate::zstd(&chunk.payload, chunk.raw_size as usize).map(drop)?;
    let raw = inflate::portable(&chunk.payload, chunk.raw_size as usize)?;
    if raw.len() as u64 != chunk.raw_size {
        return Err(Error::Size {
            expected: chunk.raw_size,
            found: raw.len() as u64,
        });
    }
    let mut events = Vec::new();
    decode::each_event(raw.into(), chunk.event_count, |_, event| events.push(event))?;
    Ok(events)
}

/// Some hundred bytes with everything in them.
fn sample() -> pb::LogChunk {
    let mut events: Vec<_> = (0..30).map(|n| output(format!("line {n} of the sample\n"))).collect();
    let column = ColumnData {
        text: Bytes::from_static(b"abc"),
        lengths: vec![2, 0, 3],
    };
    let rows = TableRows {
        table: 1,
        row_count: 3,
        columns: vec![column],
    };
    events.push(Event {
        time_us: 3,
        body: EventBody::TableRows(rows),
    });
    seal(&events)
}

#[test]
fn an_empty_encoder_seals_nothing() {
    let mut encoder = Encoder::new(AttemptId::new(), LEVEL);
    assert!(encoder.is_empty());
    assert_eq!(encoder.seal(), None);
    encoder.push(output("x"));
    assert!(!encoder.is_empty());
    assert!(encoder.seal().is_some());
    assert!(encoder.is_empty() && encoder.raw_len() == 0);
    assert_eq!(encoder.seal(), None);
}

#[test]
fn lines_and_times_are_in_the_header() {
    let mut encoder = Encoder::resume(AttemptId::new(), LEVEL, 10, 100);
    encoder.push(Event {
        time_us: 5,
        ..output("a\nb\nc")
    });
    encoder.push(Event {
        time_us: 9,
        ..output("d\n")
    });
    let first = encoder.seal().unwrap();
    encoder.push(Event {
        time_us: 11,
        ..output("e")
    });
    let second = encoder.seal().unwrap();
    assert_eq!(
        (first.first_seq, first.event_count, first.first_line, first.line_count),
        (10, 2, 100, 3)
    );
    assert_eq!((first.first_time_us, first.last_time_us), (5, 9));
    assert_eq!(
        (second.first_seq, second.first_line, second.line_count),
        (next_seq(&first), next_line(&first), 0)
    );
    assert_eq!((second.first_time_us, second.last_time_us), (11, 11));
}

#[test]
fn long_output_is_cut_and_nothing_is_lost() {
    let data: Vec<u8> = (0..OUTPUT_MAX * 3 + 17).map(|n| (n % 251) as u8).collect();
    let chunk = seal(&[output(data.clone())]);
    assert_eq!(chunk.event_count, 4);
    let back: Vec<u8> = decode(&chunk)
        .unwrap()
        .into_iter()
        .flat_map(|event| match event.body {
            EventBody::Output { data, .. } => data,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(back, data);
}

#[test]
fn an_event_that_nobody_could_read_becomes_a_note() {
    let column = ColumnData {
        text: Bytes::from(vec![b'x'; EVENT_MAX + 1]),
        lengths: vec![EVENT_MAX as u32 + 2],
    };
    let rows = TableRows {
        table: 0,
        row_count: 1,
        columns: vec![column],
    };
    let chunk = seal(&[Event {
        time_us: 1,
        body: EventBody::TableRows(rows),
    }]);
    let events = decode(&chunk).unwrap();
    assert!(matches!(&events[..], [Event { body: EventBody::Note(note), .. }] if note.reason == "MESSAGE_TOO_LARGE"));
}

#[test]
fn the_largest_chunk_that_can_be_made_passes_every_limit() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut noise = |len: usize| -> Bytes {
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let mut encoder = Encoder::new(AttemptId::new(), LEVEL);
    while encoder.raw_len() + OUTPUT_MAX + 64 < SEAL_RAW_BYTES {
        encoder.push(output(noise(OUTPUT_MAX)));
    }
    let column = ColumnData {
        text: noise(EVENT_MAX - 100),
        lengths: vec![EVENT_MAX as u32 - 99],
    };
    let rows = TableRows {
        table: 0,
        row_count: 1,
        columns: vec![column],
    };
    encoder.push(Event {
        time_us: 1,
        body: EventBody::TableRows(rows),
    });
    let chunk = encoder.seal().unwrap();
    assert!(chunk.payload.len() > EVENT_MAX, "the test lost its point");
    assert!(chunk.raw_size < SENT_RAW_MAX as u64);
    assert!(chunk.encoded_len() < PAYLOAD_MAX);
    assert!(matches!(
        decode(&chunk).unwrap().last().unwrap().body,
        EventBody::TableRows(_)
    ));
}

#[test]
fn decoded_output_shares_one_buffer() {
    let events = decode(&seal(&[output("first"), output("second")])).unwrap();
    let place = |event: &Event| match &event.body {
        EventBody::Output { data, .. } => data.as_ptr() as usize,
        other => panic!("unexpected {other:?}"),
    };
    assert!(place(&events[1]) - place(&events[0]) < 64);
}

#[test]
fn headers_that_promise_too_much_are_refused_before_memory_is_used() {
    let good = sample();
    assert!(check_header(&good).is_ok());
    let changes: [fn(&mut pb::LogChunk); 12] = [
        |chunk| chunk.raw_size = RAW_MAX as u64 + 1,
        |chunk| chunk.raw_size = u64::MAX,
        |chunk| chunk.raw_size = 0,
        |chunk| chunk.event_count = 0,
        |chunk| chunk.event_count = EVENTS_MAX + 1,
        |chunk| chunk.first_seq = u64::MAX,
        |chunk| chunk.first_line = u64::MAX,
        |chunk| chunk.line_count = chunk.raw_size + 1,
        |chunk| chunk.payload = Bytes::new(),
        |chunk| chunk.payload = Bytes::from(vec![0; PAYLOAD_MAX + 1]),
        |chunk| chunk.codec = 77,
        |chunk| chunk.attempt_id = "x".into(),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(matches!(decode(&bad), Err(Error::Header(_))), "{bad:?}");
    }
}

#[test]
fn a_header_that_does_not_fit_its_payload_is_an_error() {
    let good = sample();
    let changed = |change: fn(&mut pb::LogChunk)| {
        let mut bad = good.clone();
        change(&mut bad);
        (decode(&bad), decode_portable(&bad))
    };
    let (native, portable) = changed(|chunk| chunk.raw_size -= 1);
    assert!(native.is_err() && portable.is_err());
    let (native, portable) = changed(|chunk| chunk.raw_size += 1);
    assert!(matches!(
        (native, portable),
        (Err(Error::Size { .. }), Err(Error::Size { .. }))
    ));
    for (native, portable) in [
        changed(|chunk| chunk.event_count -= 1),
        changed(|chunk| chunk.event_count += 1),
    ] {
        assert!(matches!(
            (native, portable),
            (Err(Error::Count { .. }), Err(Error::Count { .. }))
        ));
    }
}

#[test]
fn frames_behind_the_frame_and_frames_without_a_checksum_are_refused() {
    let good = sample();
    let mut twice = good.clone();
    twice.payload = [&good.payload[..], &good.payload[..]].concat().into();
    assert!(decode(&twice).is_err());
    assert!(inflate::portable(&twice.payload, 2 * good.raw_size as usize).is_err());
    let mut unchecked = good.clone();
    let raw = inflate::native(&good.payload, good.raw_size as usize).unwrap();
    unchecked.payload = zstd::bulk::compress(&raw, 1).unwrap().into();
    assert!(decode(&unchecked).is_err());
}

#[test]
fn uncompressed_chunks_are_read_and_unknown_events_keep_their_number() {
    let batch = pb::EventBatch {
        events: vec![pb::Event { time_us: 7, body: None }, output("x").into()],
    };
    let raw = batch.encode_to_vec();
    let chunk = pb::LogChunk {
        codec: pb::Codec::Identity.into(),
        raw_size: raw.len() as u64,
        event_count: 2,
        line_count: 0,
        payload: raw.into(),
        ..sample()
    };
    let events = decode(&chunk).unwrap();
    assert!(matches!(&events[0].body, EventBody::Note(_)));
    assert_eq!(events[1], output("x"));
}

/// Every truncation and every single bit flip: 100 %, with both decoders.
fn any_events() -> impl Strategy<Value = Vec<Event>> {
    vec(any_event(), 1..14)
}

proptest! {
    #[test]
    fn any_events_round_trip_with_both_decoders(events in any_events()) {
        let chunk = seal(&events);
        prop_assert_eq!(&decode(&chunk).unwrap(), &events);
        prop_assert_eq!(&decode_portable(&chunk).unwrap(), &events);
    }

    #[test]
    fn the_payload_is_what_prost_would_write(events in any_events()) {
        let chunk = seal(&events);
        let batch = pb::EventBatch { events: events.into_iter().map(Into::into).collect() };
        prop_assert_eq!(inflate::native(&chunk.payload, chunk.raw_size as usize).unwrap(), batch.encode_to_vec());
    }

    #[test]
    fn chunks_are_contiguous_in_events_and_lines(batches in vec(vec(any_event(), 0..9), 1..8), start in 0..1_000_u64) {
        let mut encoder = Encoder::resume(AttemptId::new(), LEVEL, start, start * 2);
        let (mut seq, mut line) = (start, start * 2);
        for batch in &batches {
            batch.iter().for_each(|event| encoder.push(event.clone()));
            prop_assert_eq!(encoder.next_seq(), seq + batch.len() as u64);
            let Some(chunk) = encoder.seal() else {
                prop_assert!(batch.is_empty());
                continue;
            };
            prop_assert_eq!((chunk.first_seq, chunk.first_line), (seq, line));
            let lines = |event: &Event| match &event.body {
                EventBody::Output { data, .. } => data.iter().filter(|byte| **byte == b'\n').count() as u64,
                _ => 0,
            };
            prop_assert_eq!(chunk.line_count, batch.iter().map(lines).sum::<u64>());
            (seq, line) = (next_seq(&chunk), next_line(&chunk));
        }
    }

    #[test]
    fn the_digest_of_what_was_pushed_is_that_of_what_is_read(batches in vec(vec(any_event(), 0..9), 1..8)) {
        let mut encoder = Encoder::new(AttemptId::new(), LEVEL);
        let mut chunks = Vec::new();
        for batch in batches {
            batch.into_iter().for_each(|event| encoder.push(event));
            chunks.extend(encoder.seal());
        }
        prop_assert!(tally_of(&chunks).equals(Some(&encoder.events_digest())));
        // One chunk less, or in another order, is something else.
        if let Some(last) = chunks.pop()
            && tally_of(std::slice::from_ref(&last)).digest().count > 0
        {
            prop_assert!(!tally_of(&chunks).equals(Some(&encoder.events_digest())));
        }
    }

    #[test]
    fn the_last_chunk_carries_the_outcome(outcome in any_outcome(), before in any_events()) {
        let mut events: Vec<_> =
            before.into_iter().filter(|event| !matches!(event.body, EventBody::End(_))).collect();
        events.push(Event { time_us: 1, body: EventBody::End(outcome.clone()) });
        let chunk = seal(&events);
        prop_assert_eq!(Outcome::try_from(chunk.outcome.unwrap()).unwrap(), outcome);
    }

    #[test]
    fn random_payloads_never_panic(payload in vec(any::<u8>(), 1..200), raw_size in 1..5_000_u64, count in 1..50_u32) {
        let framed = [&[0x28, 0xb5, 0x2f, 0xfd, 0x24][..], &payload].concat();
        for payload in [payload, framed] {
            let chunk = pb::LogChunk { payload: payload.into(), raw_size, event_count: count, ..sample() };
            let _ = decode(&chunk);
            let _ = inflate::portable(&chunk.payload, raw_size as usize);
            let _ = decode(&pb::LogChunk { codec: pb::Codec::Identity.into(), ..chunk });
        }
    }

    #[test]
    fn damage_in_two_places_never_panics_in_either_decoder(
        events in any_events(), first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(),
        bytes in any::<[u8; 2]>(),
    ) {
        let chunk = seal(&events);
        let mut payload = chunk.payload.to_vec();
        let (first, second) = (first.index(payload.len()), second.index(payload.len()));
        payload[first] = bytes[0];
        payload[second] = bytes[1];
        let changed = payload != chunk.payload;
        let bad = pb::LogChunk { payload: payload.into(), ..chunk };
        let _ = inflate::portable(&bad.payload, bad.raw_size as usize);
        prop_assert_eq!(decode(&bad).is_err(), changed);
    }
}
