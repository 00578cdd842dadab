//! Events to chunks. Output bytes are copied once, into the buffer that is then compressed.

use std::cell::RefCell;

use bytes::{BufMut, Bytes};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{EVENT_MAX, EVENTS_MAX, EventsTally, OUTPUT_MAX, SEAL_RAW_BYTES, decode::EVENTS_TAG};
use crate::{
    event::{Event, EventBody, Level, Note, Stream},
    id::AttemptId,
    pb,
    reason::Reason,
    task::EventsDigest,
};

/// Collects the events of one attempt and closes them into contiguous chunks.
///
/// The caller decides when to close: see [`SEAL_RAW_BYTES`](super::SEAL_RAW_BYTES) and
/// [`SEAL_AFTER`](super::SEAL_AFTER).
#[derive(Debug)]
pub struct Encoder {
    attempt_id: String,
    level: i32,
    raw: Vec<u8>,
    event_count: u32,
    line_count: u64,
    next_seq: u64,
    next_line: u64,
    first_time_us: i64,
    last_time_us: i64,
    outcome: Option<pb::Outcome>,
    tally: EventsTally,
}

impl Encoder {
    /// Begins an attempt at event 0 and line 0, compressing with this zstd level (see [`LEVEL`](super::LEVEL)).
    pub fn new(attempt_id: AttemptId, level: i32) -> Self {
        Self::resume(attempt_id, level, 0, 0)
    }

    /// Goes on where an earlier encoder of the same attempt ended.
    pub fn resume(attempt_id: AttemptId, level: i32, next_seq: u64, next_line: u64) -> Self {
        Self {
            attempt_id: attempt_id.to_string(),
            level,
            raw: Vec::new(),
            event_count: 0,
            line_count: 0,
            next_seq,
            next_line,
            first_time_us: 0,
            last_time_us: 0,
            outcome: None,
            tally: EventsTally::default(),
        }
    }

    /// Returns the digest of the events so far that are neither output nor the end, as they were pushed: one that was
    /// left out makes it differ from what a reader finds.
    pub fn events_digest(&self) -> EventsDigest {
        self.tally.digest()
    }

    /// Takes an event. Output above [`OUTPUT_MAX`](super::OUTPUT_MAX) becomes several events.
    pub fn push(&mut self, event: Event) {
        let Event { time_us, body } = event;
        match body {
            EventBody::Output { stream, mut data } => {
                while data.len() > OUTPUT_MAX {
                    let piece = data.split_to(OUTPUT_MAX);
                    self.push_output(time_us, stream, &piece);
                }
                self.push_output(time_us, stream, &data);
            }
            EventBody::End(outcome) => {
                let outcome = pb::Outcome::from(outcome);
                let end = pb::Event {
                    time_us,
                    body: Some(pb::event::Body::End(outcome.clone())),
                };
                self.push_message(&end);
                self.outcome = Some(outcome);
            }
            body @ (EventBody::TableHeader(_)
            | EventBody::TableRows(_)
            | EventBody::RowPiece(_)
            | EventBody::StatementStart(_)
            | EventBody::StatementEnd(_)
            | EventBody::Note(_)
            | EventBody::Gap { .. }) => self.push_counted(&Event { time_us, body }.into()),
        }
    }

    /// Returns the bytes collected since the last chunk, before compression.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// Says whether nothing was pushed since the last chunk.
    pub fn is_empty(&self) -> bool {
        self.event_count == 0
    }

    /// Says whether the chunk should be closed for its size, whatever its age.
    pub fn is_full(&self) -> bool {
        self.raw.len() >= SEAL_RAW_BYTES || self.event_count >= EVENTS_MAX / 2
    }

    /// Returns the number of the next event to be pushed.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Closes the chunk; `None` when nothing was pushed. With an End event in it, its `outcome` is set.
    pub fn seal(&mut self) -> Option<pb::LogChunk> {
        if self.event_count == 0 {
            return None;
        }
        let (codec, payload) = match compress(&self.raw, self.level) {
            Ok(payload) => (pb::Codec::Zstd, payload),
            // Only without memory. Uncompressed output is better than none.
            Err(_) => (pb::Codec::Identity, Bytes::copy_from_slice(&self.raw)),
        };
        let chunk = pb::LogChunk {
            attempt_id: self.attempt_id.clone(),
            first_seq: self.next_seq - u64::from(self.event_count),
            event_count: self.event_count,
            first_line: self.next_line - self.line_count,
            line_count: self.line_count,
            raw_size: self.raw.len() as u64,
            first_time_us: self.first_time_us,
            last_time_us: self.last_time_us,
            codec: codec.into(),
            payload,
            outcome: self.outcome.take(),
        };
        self.event_count = 0;
        self.line_count = 0;
        self.raw.clear();
        // One huge event shall not hold its memory for the rest of the attempt.
        self.raw.shrink_to(2 * SEAL_RAW_BYTES);
        Some(chunk)
    }

    /// The same bytes as prost's, without building the message first.
    fn push_output(&mut self, time_us: i64, stream: Stream, data: &[u8]) {
        let stream = i32::from(pb::Stream::from(stream)) as u64;
        let data_len = if data.is_empty() {
            0
        } else {
            1 + encoded_len_varint(data.len() as u64) + data.len()
        };
        let output_len = 1 + encoded_len_varint(stream) + data_len;
        let time = time_us as u64;
        let time_len = if time == 0 { 0 } else { 1 + encoded_len_varint(time) };
        let event_len = time_len + 1 + encoded_len_varint(output_len as u64) + output_len;

        self.raw.reserve(event_len + 16);
        encode_key(EVENTS_TAG, WireType::LengthDelimited, &mut self.raw);
        encode_varint(event_len as u64, &mut self.raw);
        if time != 0 {
            encode_key(1, WireType::Varint, &mut self.raw);
            encode_varint(time, &mut self.raw);
        }
        encode_key(2, WireType::LengthDelimited, &mut self.raw);
        encode_varint(output_len as u64, &mut self.raw);
        encode_key(1, WireType::Varint, &mut self.raw);
        encode_varint(stream, &mut self.raw);
        if !data.is_empty() {
            encode_key(2, WireType::LengthDelimited, &mut self.raw);
            encode_varint(data.len() as u64, &mut self.raw);
            self.raw.put_slice(data);
        }
        let lines = memchr::memchr_iter(b'\n', data).count() as u64;
        self.line_count += lines;
        self.next_line += lines;
        self.count(time_us);
    }

    fn push_counted(&mut self, event: &pb::Event) {
        let (seq, len) = (self.next_seq, event.encoded_len());
        if len > EVENT_MAX {
            // The link and every reader have limits; a chunk above them would never arrive. It counts as pushed, so
            // that nobody takes what is stored for the whole.
            self.tally.add(seq, &event.encode_to_vec());
            let note = Note {
                level: Level::Error,
                reason: Reason::MessageTooLarge.code().to_owned(),
                message: format!("an event of {len} bytes was left out; at most {EVENT_MAX} can be kept"),
            };
            return self.push_message(
                &Event {
                    time_us: event.time_us,
                    body: EventBody::Note(note),
                }
                .into(),
            );
        }
        self.push_message(event);
        let encoded = self.raw.get(self.raw.len() - len..).unwrap_or_default();
        self.tally.add(seq, encoded);
    }

    fn push_message(&mut self, event: &pb::Event) {
        encode_key(EVENTS_TAG, WireType::LengthDelimited, &mut self.raw);
        encode_varint(event.encoded_len() as u64, &mut self.raw);
        event.encode_raw(&mut self.raw);
        self.count(event.time_us);
    }

    fn count(&mut self, time_us: i64) {
        if self.event_count == 0 {
            self.first_time_us = time_us;
        }
        self.last_time_us = time_us;
        self.event_count += 1;
        self.next_seq += 1;
    }
}

/// One compression with this thread's context: making one costs as much as compressing a small chunk, and 10,000
/// simulated attempts shall not hold one each.
fn compress(raw: &[u8], level: i32) -> std::io::Result<Bytes> {
    struct Context {
        level: i32,
        compressor: Compressor<'static>,
        buffer: Vec<u8>,
    }
    thread_local! {
        static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
    }
    CONTEXT.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) if context.level == level => context,
            Some(_) | None => {
                let mut compressor = Compressor::new(level)?;
                // A reader notices every flipped bit, see `inflate`.
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                slot.insert(Context {
                    level,
                    compressor,
                    buffer: Vec::new(),
                })
            }
        };
        context.buffer.clear();
        context.buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        context.compressor.compress_to_buffer(raw, &mut context.buffer)?;
        // Exact size: a chunk may be kept for long, and its bound is as large as the raw bytes.
        let payload = Bytes::copy_from_slice(&context.buffer);
        context.buffer.shrink_to(2 * SEAL_RAW_BYTES);
        Ok(payload)
    })
}
