//! The chunk codec: a run of events, compressed once, decoded wherever it is read.
//!
//! # Shape
//! A [`pb::LogChunk`] has a header (which attempt, which events, which lines, sizes, times) and a payload: an encoded
//! `EventBatch` as one zstd frame with its content checksum. Headers alone answer 'line 734,112' and 'the end'.
//! Native code uses zstd itself (feature `encode`), the console ruzstd; the tests hold both against each other.
//!
//! # Bounds
//! Nothing is allocated on the word of a header: sizes are checked against the limits below first.

use std::time::Duration;

use crate::{id::AttemptId, pb};

mod decode;
#[cfg(feature = "encode")]
mod encode;
mod inflate;
#[cfg(feature = "encode")]
mod tally;

pub use decode::decode;
#[cfg(feature = "encode")]
pub use encode::Encoder;
#[cfg(feature = "encode")]
pub use tally::EventsTally;

/// A chunk is closed when it has so many raw bytes (design 02)…
pub const SEAL_RAW_BYTES: usize = 256 * 1024;
/// …or so long after its first event, whichever comes first.
pub const SEAL_AFTER: Duration = Duration::from_millis(20);

/// Largest output event; a longer one is cut into several. Reads of 32 to 64 KiB are best (design 07).
pub const OUTPUT_MAX: usize = 64 * 1024;
/// Largest encoded event of another kind; a larger one is replaced by a note that says so.
pub const EVENT_MAX: usize = 2 * 1024 * 1024;
/// Most raw bytes that a decoder accepts: far above what an encoder makes.
pub const RAW_MAX: usize = 16 * 1024 * 1024;
/// Most raw bytes that an agent sends, whatever its version: a chunk is closed at 256 KiB, and its last event is one of
/// [`EVENT_MAX`], or the end, whose outcome stands in the chunk's header too and so within a frame of some 3 MiB.
pub const SENT_RAW_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(SENT_RAW_MAX > SEAL_RAW_BYTES + PAYLOAD_MAX && PAYLOAD_MAX > EVENT_MAX && SENT_RAW_MAX < RAW_MAX);
/// Most payload bytes that a decoder accepts: stays below the 4 MiB of a gRPC message.
pub const PAYLOAD_MAX: usize = 3 * 1024 * 1024;
/// Most events of one chunk. An encoder closes at 256 KiB, and no event has fewer than 4 bytes.
pub const EVENTS_MAX: u32 = 1 << 16;

/// zstd level of live output.
///
/// # Source
/// Measured with 256 KiB of log lines on one core (compress, ratio, decompress): level 3: 300 MB/s, 4.8, 1,490 MB/s ·
/// 1: 410, 5.2, 1,510 · -1: 570, 3.2, 1,930 · **-3: 860, 3.2, 2,450** · -7: 960, 2.6, 1,790. One level below zero costs
/// a third of the ratio and doubles the speed; random bytes pass at 5 GB/s at every level.
pub const LEVEL: i32 = -3;

/// Why a chunk cannot be read. Trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its header makes no sense, or promises more than is allowed.
    #[error("the chunk's header is wrong: {0}")]
    Header(String),
    /// Its payload cannot be decompressed.
    #[error("the chunk's payload cannot be decompressed: {0}")]
    Inflate(String),
    /// Its payload has another size than the header says.
    #[error("the chunk has {found} raw bytes where its header says {expected}")]
    Size {
        /// By the header.
        expected: u64,
        /// In truth.
        found: u64,
    },
    /// Its payload is no batch of events.
    #[error("the chunk's events cannot be decoded: {0}")]
    Batch(#[from] prost::DecodeError),
    /// It has another number of events than the header says.
    #[error("the chunk has {found} events where its header says {expected}")]
    Count {
        /// By the header.
        expected: u32,
        /// In truth.
        found: u32,
    },
}

/// Checks a chunk's header without reading its payload: what a cloud does before it stores one.
///
/// # Errors
/// [`Error::Header`].
pub fn check_header(chunk: &pb::LogChunk) -> Result<AttemptId, Error> {
    let wrong = |detail: String| Err(Error::Header(detail));
    let Ok(attempt_id) = chunk.attempt_id.parse() else {
        return wrong("attempt_id is not an id".to_owned());
    };
    if chunk.event_count == 0 || chunk.event_count > EVENTS_MAX {
        return wrong(format!(
            "event_count is {}; 1 to {EVENTS_MAX} are possible",
            chunk.event_count
        ));
    }
    if chunk.raw_size == 0 || chunk.raw_size > RAW_MAX as u64 {
        return wrong(format!("raw_size is {}; 1 to {RAW_MAX} are possible", chunk.raw_size));
    }
    if chunk.payload.is_empty() || chunk.payload.len() > PAYLOAD_MAX {
        return wrong(format!(
            "the payload has {} bytes; 1 to {PAYLOAD_MAX} are possible",
            chunk.payload.len()
        ));
    }
    if chunk.line_count > chunk.raw_size {
        return wrong(format!("line_count is {}, above the raw size", chunk.line_count));
    }
    if chunk.first_seq.checked_add(chunk.event_count.into()).is_none()
        || chunk.first_line.checked_add(chunk.line_count).is_none()
    {
        return wrong("its numbers run over".to_owned());
    }
    match chunk.codec() {
        pb::Codec::Zstd | pb::Codec::Identity => Ok(attempt_id),
        pb::Codec::Unspecified => wrong(format!("codec {} is unknown", chunk.codec)),
    }
}

/// Returns the number of the first event after a chunk.
pub fn next_seq(chunk: &pb::LogChunk) -> u64 {
    chunk.first_seq.saturating_add(chunk.event_count.into())
}

/// Returns the number of the first line after a chunk.
pub fn next_line(chunk: &pb::LogChunk) -> u64 {
    chunk.first_line.saturating_add(chunk.line_count)
}

#[cfg(all(test, feature = "encode"))]
mod tests;
