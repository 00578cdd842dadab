//! The digest of what is not output: the same arithmetic where events are made and where they are checked.

use bytes::Bytes;

use super::{Error, decode::decode_with};
use crate::{
    event::{Event, EventBody},
    pb,
    task::EventsDigest,
};

/// The only way of hashing so far; see `EventsDigest` in the proto file.
const VERSION: u32 = 1;

/// Counts and hashes the events that are neither output (streams have their own digests) nor the end (it holds this
/// one). Events are hashed as they are encoded: a reader that does not know a kind can check it all the same.
#[derive(Debug, Clone, Default)]
pub struct EventsTally {
    count: u64,
    hasher: blake3::Hasher,
}

impl EventsTally {
    /// Takes an event as it is encoded.
    pub fn add(&mut self, seq: u64, encoded: &[u8]) {
        self.count += 1;
        self.hasher.update(&seq.to_le_bytes());
        self.hasher.update(&(encoded.len() as u64).to_le_bytes());
        self.hasher.update(encoded);
    }

    /// Decodes a chunk and takes its events, handing each on.
    ///
    /// # Errors
    /// Those of [`super::decode`].
    pub fn add_chunk(&mut self, chunk: &pb::LogChunk, mut each: impl FnMut(Event)) -> Result<(), Error> {
        let mut seq = chunk.first_seq;
        decode_with(chunk, |encoded, event| {
            match event.body {
                EventBody::Output { .. } | EventBody::End(_) => {}
                EventBody::TableHeader(_)
                | EventBody::TableRows(_)
                | EventBody::RowPiece(_)
                | EventBody::StatementStart(_)
                | EventBody::StatementEnd(_)
                | EventBody::Note(_)
                | EventBody::Gap { .. } => self.add(seq, encoded),
            }
            seq += 1;
            each(event);
        })
    }

    /// Returns the digest so far.
    pub fn digest(&self) -> EventsDigest {
        EventsDigest {
            version: VERSION,
            count: self.count,
            blake3: Bytes::copy_from_slice(self.hasher.finalize().as_bytes()),
        }
    }

    /// Says whether the events are as reported. An agent that reported none is of an earlier version.
    pub fn equals(&self, reported: Option<&EventsDigest>) -> bool {
        reported.is_none_or(|reported| *reported == self.digest())
    }
}
