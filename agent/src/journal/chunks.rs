//! Reading an attempt's chunks while its runner may still append to them.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use opslink::pb;
use prost::Message;

use super::{
    frame::{HEADER_BYTES, Header},
    segments,
};

/// One resume point per this many bytes of file: a gigabyte costs 16 kB of memory.
const MARK_EVERY_BYTES: u64 = 1024 * 1024;

/// Reads chunks in order, from any event number on. Keeps no chunk in memory.
#[derive(Debug)]
pub struct ChunkReader {
    dir: PathBuf,
    /// First event of the segment that is open.
    segment: u64,
    file: File,
    /// In that segment, like the marks.
    offset: u64,
    /// Length of the frame that was read last.
    last_bytes: u64,
    next_seq: u64,
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    seq: u64,
    offset: u64,
}

impl ChunkReader {
    /// Opens an attempt's folder, positioned at its first chunk.
    ///
    /// # Errors
    /// Those of opening; `NotFound` when there is no chunk yet.
    pub fn open(dir: &Path) -> io::Result<Self> {
        match Self::open_at(dir, 0) {
            // The first segments may be gone: the cloud has them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match segments::list(dir)?.first() {
                Some(first) => Self::open_at(dir, *first),
                None => Err(error),
            },
            other => other,
        }
    }

    /// Opens an attempt's folder, positioned at the segment that begins with this event.
    pub(super) fn open_at(dir: &Path, segment: u64) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            segment,
            file: File::open(segments::path(dir, segment))?,
            offset: 0,
            last_bytes: 0,
            next_seq: segment,
            marks: Vec::new(),
        })
    }

    /// Number of the event after the last chunk that was read.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Length of its segment up to the last chunk that was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// First event of the segment that the last chunk was read from.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Moves so that the next chunk read is the one that holds event `seq`, or the first after it. Events whose segments
    /// are gone are passed over: [`Self::next_seq`] is then above `seq`.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn seek(&mut self, seq: u64) -> io::Result<()> {
        if seq < self.segment || seq > self.next_seq {
            let segments = segments::list(&self.dir)?;
            let holds = segments.iter().rev().find(|first| **first <= seq).or(segments.first());
            // Whole segments are passed over unread.
            if let Some(holds) = holds.filter(|holds| **holds != self.segment) {
                self.enter(*holds)?;
            }
        } else if seq < self.next_seq {
            let mark = self.marks.iter().rev().find(|mark| mark.seq <= seq).copied();
            let start = Mark {
                seq: self.segment,
                offset: 0,
            };
            let mark = mark.unwrap_or(start);
            (self.next_seq, self.offset) = (mark.seq, mark.offset);
        }
        while self.next_seq < seq {
            let Some(chunk) = self.read()? else { break };
            if self.next_seq > seq {
                // One back, in the segment that it was read from.
                self.offset -= self.last_bytes;
                self.next_seq = chunk.first_seq;
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
        while !read_whole(&self.file, &mut header, self.offset)? {
            if self.next_seq == self.segment || !self.enter_next()? {
                return Ok(None);
            }
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
        self.last_bytes = (HEADER_BYTES + header.length) as u64;
        self.offset += self.last_bytes;
        self.next_seq += u64::from(chunk.event_count);
        Ok(Some(chunk))
    }
}

impl ChunkReader {
    fn enter(&mut self, segment: u64) -> io::Result<()> {
        self.file = File::open(segments::path(&self.dir, segment))?;
        (self.segment, self.offset, self.next_seq) = (segment, 0, segment);
        self.marks.clear();
        Ok(())
    }

    /// Goes on in the segment that begins where this one ends; `false` while there is none.
    fn enter_next(&mut self) -> io::Result<bool> {
        match self.enter(self.next_seq) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
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
