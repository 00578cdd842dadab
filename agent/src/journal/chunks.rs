//! Reading an attempt's `chunks` while its runner may still append to it.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use opslink::pb;
use prost::Message;

use super::frame::{HEADER_BYTES, Header};

/// One resume point per this many bytes of file: a gigabyte costs 16 kB of memory.
const MARK_EVERY_BYTES: u64 = 1024 * 1024;

/// Reads chunks in order, from any event number on. Keeps no chunk in memory.
#[derive(Debug)]
pub struct ChunkReader {
    file: File,
    offset: u64,
    next_seq: u64,
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    seq: u64,
    offset: u64,
}

impl ChunkReader {
    /// Opens the file, positioned at its first chunk.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            offset: 0,
            next_seq: 0,
            marks: Vec::new(),
        })
    }

    /// Number of the event after the last chunk that was read.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Length of the file up to the last chunk that was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves so that the next chunk read is the one that holds event `seq`, or the first after it.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn seek(&mut self, seq: u64) -> io::Result<()> {
        if seq < self.next_seq {
            let mark = self.marks.iter().rev().find(|mark| mark.seq <= seq).copied();
            let mark = mark.unwrap_or(Mark { seq: 0, offset: 0 });
            (self.next_seq, self.offset) = (mark.seq, mark.offset);
        }
        while self.next_seq < seq {
            let (seq_before, offset_before) = (self.next_seq, self.offset);
            if self.read()?.is_none() {
                break;
            }
            if self.next_seq > seq {
                (self.next_seq, self.offset) = (seq_before, offset_before);
                break;
            }
        }
        Ok(())
    }

    /// Reads the next chunk; `None` when there is no whole one yet.
    ///
    /// # Errors
    /// `InvalidData` when the file is damaged here (a torn last frame is not an error: it may still be growing),
    /// otherwise those of reading.
    pub fn read(&mut self) -> io::Result<Option<pb::LogChunk>> {
        let mut header = [0; HEADER_BYTES];
        if !read_whole(&self.file, &mut header, self.offset)? {
            return Ok(None);
        }
        let header = Header::parse(header).ok_or_else(|| damaged("impossible length", self.offset))?;
        let mut payload = vec![0; header.length];
        if !read_whole(&self.file, &mut payload, self.offset + HEADER_BYTES as u64)? {
            return Ok(None);
        }
        if !header.fits(&payload) {
            return Err(damaged("wrong checksum", self.offset));
        }
        let chunk = pb::LogChunk::decode(Bytes::from(payload)).map_err(|_| damaged("not a chunk", self.offset))?;
        if chunk.first_seq != self.next_seq || chunk.event_count == 0 {
            return Err(damaged("a chunk out of order", self.offset));
        }
        if self.marks.last().map_or(0, |mark| mark.offset) + MARK_EVERY_BYTES <= self.offset {
            self.marks.push(Mark {
                seq: self.next_seq,
                offset: self.offset,
            });
        }
        self.offset += (HEADER_BYTES + header.length) as u64;
        self.next_seq += u64::from(chunk.event_count);
        Ok(Some(chunk))
    }
}

fn damaged(what: &str, offset: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("chunks file is damaged at byte {offset}: {what}"),
    )
}

/// Fills `buffer` from `offset`; `false` when the file ends before.
fn read_whole(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
