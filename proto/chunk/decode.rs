//! Payload to events: one decompression, and then slices of its buffer.

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Error, check_header, inflate};
use crate::{
    event::{Event, EventBody, Level, Note},
    pb,
};

/// Number of `EventBatch.events`.
pub(super) const EVENTS_TAG: u32 = 1;

/// Decodes a chunk's events. Output bytes are slices of one buffer: keeping one event keeps its whole chunk.
///
/// An event of a kind that this version does not know becomes a note, so that numbers stay right.
///
/// # Errors
/// The header is wrong, the payload is damaged, or the two do not fit.
pub fn decode(chunk: &pb::LogChunk) -> Result<Vec<Event>, Error> {
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
    events(raw, chunk.event_count)
}

/// Reads an `EventBatch` without making its wire form first: the number of events is bounded before memory is.
pub(super) fn events(mut raw: Bytes, expected: u32) -> Result<Vec<Event>, Error> {
    let mut events = Vec::with_capacity(expected as usize);
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
        if events.len() == expected as usize {
            return Err(Error::Count {
                expected,
                found: expected.saturating_add(1),
            });
        }
        events.push(event(raw.split_to(len))?);
    }
    if events.len() != expected as usize {
        return Err(Error::Count {
            expected,
            found: u32::try_from(events.len()).unwrap_or(u32::MAX),
        });
    }
    Ok(events)
}

fn event(encoded: Bytes) -> Result<Event, Error> {
    let event = pb::Event::decode(encoded)?;
    if event.body.is_some() {
        return Ok(event.try_into()?);
    }
    let note = Note {
        level: Level::Warning,
        reason: String::new(),
        message: "an event of a kind that this version does not know".to_owned(),
    };
    Ok(Event {
        time_us: event.time_us,
        body: EventBody::Note(note),
    })
}
