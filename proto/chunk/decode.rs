//! Payload to events: one decompression, and then slices of its buffer.

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Error, check_header, inflate};
use crate::{
    convert::InvalidMessage,
    event::{Event, EventBody, Level, Note},
    pb,
    reason::Reason,
};

/// Number of `EventBatch.events`.
pub(super) const EVENTS_TAG: u32 = 1;

/// Decodes a chunk's events. Output bytes are slices of one buffer: keeping one event keeps its whole chunk.
///
/// An event of a kind that this version does not know becomes a note, so that numbers stay right; so does one that makes
/// no sense, such as rows whose count is not that of their cells.
///
/// # Errors
/// The header is wrong, the payload is damaged, or the two do not fit.
pub fn decode(chunk: &pb::LogChunk) -> Result<Vec<Event>, Error> {
    check_header(chunk)?;
    let mut events = Vec::with_capacity(chunk.event_count as usize);
    decode_with(chunk, |_, event| events.push(event))?;
    Ok(events)
}

/// Decodes a chunk's events one by one, each with its encoded bytes.
pub(super) fn decode_with(chunk: &pb::LogChunk, each: impl FnMut(&[u8], Event)) -> Result<(), Error> {
    check_header(chunk)?;
    // At most RAW_MAX by the line above.
    let raw_size = usize::try_from(chunk.raw_size).unwrap_or(usize::MAX);
    let raw = match chunk.codec() {
        pb::Codec::Zstd => Bytes::from(inflate::zstd(&chunk.payload, raw_size)?),
        pb::Codec::Identity => chunk.payload.clone(),
        pb::Codec::Unspecified => return Err(Error::Header("codec is unknown".to_owned())),
    };
    if raw.len() != raw_size {
        return Err(Error::Size {
            expected: chunk.raw_size,
            found: raw.len() as u64,
        });
    }
    each_event(raw, chunk.event_count, each)
}

/// Reads an `EventBatch` without making its wire form first: the number of events is bounded before memory is.
pub(super) fn each_event(mut raw: Bytes, expected: u32, mut each: impl FnMut(&[u8], Event)) -> Result<(), Error> {
    let mut found = 0;
    while raw.has_remaining() {
        let (tag, wire_type) = decode_key(&mut raw)?;
        if tag != EVENTS_TAG || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut raw, DecodeContext::default())?;
            continue;
        }
        let len = decode_varint(&mut raw)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= raw.len());
        let Some(len) = len else {
            return Err(Error::Inflate("an event reaches beyond the end".to_owned()));
        };
        if found == expected {
            return Err(Error::Count {
                expected,
                found: expected.saturating_add(1),
            });
        }
        found += 1;
        let encoded = raw.split_to(len);
        each(&encoded, event(encoded.clone())?);
    }
    if found != expected {
        return Err(Error::Count { expected, found });
    }
    Ok(())
}

fn event(encoded: Bytes) -> Result<Event, Error> {
    let event = pb::Event::decode(encoded)?;
    let time_us = event.time_us;
    if event.body.is_none() {
        let message = "an event of a kind that this version does not know".to_owned();
        return Ok(instead(time_us, String::new(), message));
    }
    Ok(event.try_into().unwrap_or_else(|error: InvalidMessage| {
        let message = format!("an event that makes no sense was left out: {error}");
        instead(time_us, Reason::ChunkInvalid.code().to_owned(), message)
    }))
}

/// What stands in the place of an event that cannot be shown: its number stays, and its neighbours are readable.
fn instead(time_us: i64, reason: String, message: String) -> Event {
    let note = Note {
        level: Level::Warning,
        reason,
        message,
    };
    Event {
        time_us,
        body: EventBody::Note(note),
    }
}
