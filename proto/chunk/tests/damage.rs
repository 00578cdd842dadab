//! What is damaged, or left out, is never overlooked.

use super::*;

#[test]
fn no_damage_is_overlooked() {
    let good = sample();
    for len in 0..good.payload.len() {
        let bad = pb::LogChunk {
            payload: good.payload.slice(..len),
            ..good.clone()
        };
        assert!(decode(&bad).is_err() && decode_portable(&bad).is_err(), "cut at {len}");
        assert!(
            len == 0 || inflate::portable(&bad.payload, good.raw_size as usize).is_err(),
            "cut at {len}"
        );
    }
    for bit in 0..good.payload.len() * 8 {
        let mut payload = good.payload.to_vec();
        payload[bit / 8] ^= 1 << (bit % 8);
        let bad = pb::LogChunk {
            payload: payload.into(),
            ..good.clone()
        };
        assert!(decode(&bad).is_err(), "bit {bit}");
        let portable = inflate::portable(&bad.payload, good.raw_size as usize);
        // The bits that ruzstd ignores are caught by `check_frame` before it is asked.
        let fits = portable.is_ok_and(|raw| decode::each_event(raw.into(), good.event_count, |_, _| {}).is_ok());
        assert!(!fits || decode_portable(&bad).is_err(), "bit {bit}");
    }
}

pub(super) fn tally_of(chunks: &[pb::LogChunk]) -> EventsTally {
    let mut tally = EventsTally::default();
    chunks.iter().for_each(|chunk| tally.add_chunk(chunk, drop).unwrap());
    tally
}

#[test]
fn an_event_that_is_left_out_shows_in_the_digest() {
    let rows = |bytes: usize| Event {
        time_us: 3,
        body: EventBody::TableRows(TableRows {
            table: 0,
            row_count: 1,
            columns: vec![ColumnData {
                text: vec![b'x'; bytes].into(),
                lengths: vec![bytes as u32 + 1],
            }],
        }),
    };
    for (bytes, is_whole) in [(100, true), (EVENT_MAX - 100, true), (EVENT_MAX, false)] {
        let mut encoder = Encoder::new(AttemptId::new(), LEVEL);
        encoder.push(rows(10));
        encoder.push(rows(bytes));
        let digest = encoder.events_digest();
        let chunk = encoder.seal().unwrap();
        assert_eq!(tally_of(&[chunk]).equals(Some(&digest)), is_whole, "{bytes} bytes");
    }
    assert!(tally_of(&[]).equals(None), "agents before 0.2.0 report none");
    let later = EventsDigest {
        version: 2,
        ..tally_of(&[]).digest()
    };
    assert!(
        !tally_of(&[]).equals(Some(&later)),
        "what is not understood is not confirmed"
    );
}
