//! One attempt's folder: making it, writing to it, reading what it says.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use opslink::{id::AttemptId, pb, time::UnixMicros};
use prost::Message;

use super::{
    chunks::ChunkReader,
    frame::{HEADER_BYTES, finish},
    record::{AttemptRecord, Process, Record, boot_id},
    segments::{self, KEEP_ACKNOWLEDGED_BYTES, SEGMENT_BYTES},
};
use crate::policy::Permit;

const STATE: &str = "state";
const CANCEL: &str = "cancel";
const SCRATCH: &str = "scratch";

/// The folder of one attempt. Cheap to clone; holds no file open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir {
    path: PathBuf,
    id: AttemptId,
}

impl AttemptDir {
    /// Makes the folder under `root`. It survives the death of this process; that the attempt was taken survives a power
    /// cut by [`Fence::take`](super::Fence::take).
    ///
    /// # Errors
    /// `AlreadyExists` when this attempt is known; otherwise those of the disk. What was made is then removed.
    pub fn create(root: &Path, id: AttemptId, envelope: &pb::SignedEnvelope, permit: &Permit) -> io::Result<Self> {
        let path = root.join(id.to_string());
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let dir = Self { path, id };
        match dir.fill(envelope, permit) {
            Ok(()) => Ok(dir),
            Err(error) => {
                // Nothing has started: leaving no trace lets the cloud try again.
                fs::remove_dir_all(&dir.path).ok();
                Err(error)
            }
        }
    }

    fn fill(&self, envelope: &pb::SignedEnvelope, permit: &Permit) -> io::Result<()> {
        let received = Record::Received {
            time_us: UnixMicros::now().0,
            boot_id: boot_id(),
            envelope: envelope.encode_to_vec(),
        };
        let permitted = Record::Permitted(permit.clone());
        let records = [received.to_frame(), permitted.to_frame()].concat();
        self.append_to(STATE)?.write_all(&records)
    }

    /// Makes an empty folder for an attempt whose own was lost: recovery gives it an end.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn restore(root: &Path, id: AttemptId) -> io::Result<Self> {
        let path = root.join(id.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path, id })
    }

    /// Opens an existing folder; its name is the attempt's id.
    ///
    /// # Errors
    /// `InvalidInput` when the folder's name is not an id.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let id = name
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self {
            path: path.to_owned(),
            id,
        })
    }

    /// The attempt.
    pub fn id(&self) -> AttemptId {
        self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the executor's own files go. Made by the runner.
    pub fn scratch(&self) -> PathBuf {
        self.path.join(SCRATCH)
    }

    /// Reads what has been recorded so far.
    ///
    /// # Errors
    /// Those of reading; a missing file is an empty record.
    pub fn record(&self) -> io::Result<AttemptRecord> {
        match fs::read(self.path.join(STATE)) {
            Ok(bytes) => Ok(AttemptRecord::read(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(AttemptRecord::default()),
            Err(error) => Err(error),
        }
    }

    /// Opens the chunks for reading.
    ///
    /// # Errors
    /// Those of opening; `NotFound` when there is no chunk yet.
    pub fn chunks(&self) -> io::Result<ChunkReader> {
        ChunkReader::open(&self.path)
    }

    /// Becomes the one writer of this attempt, for its runner, and reads what was recorded. Held until the writer is
    /// dropped or the process dies.
    ///
    /// This is the fence of at most one start: whoever gets the writer may run the attempt, nobody else ever may.
    ///
    /// # Errors
    /// `WouldBlock` while another writer lives; `AlreadyExists` when the attempt has started or ended before: then it
    /// must not run; otherwise those of the disk.
    pub fn writer(&self) -> io::Result<(AttemptWriter, AttemptRecord)> {
        let writer = self.take_over()?;
        let record = self.record()?;
        if record.runner.is_some() || record.outcome.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "this attempt has started before",
            ));
        }
        Ok((writer, record))
    }

    /// Becomes the writer whatever the attempt's past, for recovery. `WouldBlock` while another writer lives.
    pub(super) fn take_over(&self) -> io::Result<AttemptWriter> {
        let state = self.append_to(STATE)?;
        state.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
            fs::TryLockError::Error(error) => error,
        })?;
        let mut segments = segments::list(&self.path)?;
        let last = segments.pop().unwrap_or(0);
        Ok(AttemptWriter {
            state,
            chunks: open_to_append(&segments::path(&self.path, last))?,
            dir: self.path.clone(),
            last,
            earlier: segments.into(),
            segment_bytes: SEGMENT_BYTES,
            buffer: Vec::new(),
        })
    }

    /// Says whether its writer is gone: one look at the lock, which needs nothing else of the disk.
    ///
    /// # Errors
    /// Those of opening `state`: then nobody knows.
    pub(crate) fn is_abandoned(&self) -> io::Result<bool> {
        let state = OpenOptions::new().append(true).open(self.path.join(STATE))?;
        match state.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Notes for good that the attempt shall end; a runner that starts or reconnects later is told.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn request_cancel(&self) -> io::Result<()> {
        self.append_to(CANCEL)?.sync_all()
    }

    /// Says whether somebody asked for the end of the attempt.
    pub fn cancel_requested(&self) -> bool {
        self.path.join(CANCEL).exists()
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// Those of the disk; a folder that is gone is no error.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn append_to(&self, name: &str) -> io::Result<File> {
        open_to_append(&self.path.join(name))
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The one writer of an attempt's `state` and chunks.
#[derive(Debug)]
pub struct AttemptWriter {
    state: File,
    dir: PathBuf,
    /// The last segment, and its first event.
    chunks: File,
    last: u64,
    /// First events of the segments before it, in order.
    earlier: VecDeque<u64>,
    segment_bytes: u64,
    buffer: Vec<u8>,
}

impl AttemptWriter {
    /// Appends a chunk in one write. Survives the death of this process at once, a power cut after [`Self::sync`].
    ///
    /// # Errors
    /// Those of writing. A short write (disk full) is undone, so that the chunk may be tried again.
    pub fn append_chunk(&mut self, chunk: &pb::LogChunk) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.reserve(HEADER_BYTES + chunk.encoded_len());
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        chunk
            .encode(&mut self.buffer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        finish(&mut self.buffer);
        if self.chunks.metadata()?.len() >= self.segment_bytes {
            self.chunks = open_to_append(&segments::path(&self.dir, chunk.first_seq))?;
            let full = std::mem::replace(&mut self.last, chunk.first_seq);
            self.earlier.push_back(full);
        }
        let written = append(&mut self.chunks, &self.buffer);
        if self.buffer.capacity() > 1024 * 1024 {
            self.buffer = Vec::new();
        }
        written
    }

    /// Records that the runner is `process`, and makes it durable in the page cache only: what a power cut leaves
    /// open is reported as lost either way.
    ///
    /// # Errors
    /// Those of writing.
    pub fn started(&mut self, process: Process) -> io::Result<()> {
        let record = Record::Started {
            time_us: UnixMicros::now().0,
            process,
        };
        append(&mut self.state, &record.to_frame())
    }

    /// Records how the attempt ended. Call after its last chunk was appended.
    ///
    /// # Errors
    /// Those of writing.
    pub fn ended(&mut self, outcome: &pb::Outcome) -> io::Result<()> {
        append(&mut self.state, &Record::Ended(outcome.clone()).to_frame())
    }

    #[cfg(test)]
    pub(super) fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }

    /// Gives back what the cloud has acknowledged, whole segments of it: all but the newest
    /// [`KEEP_ACKNOWLEDGED_BYTES`], or everything when the disk is full. Says whether there was anything.
    ///
    /// # Errors
    /// Those of removing files.
    pub fn give_back(&mut self, acknowledged: u64, disk_is_full: bool) -> io::Result<bool> {
        let keep = if disk_is_full {
            0
        } else {
            (KEEP_ACKNOWLEDGED_BYTES / self.segment_bytes) as usize
        };
        let after = self.earlier.iter().skip(1).chain([&self.last]);
        let whole = after.take_while(|first| **first <= acknowledged).count();
        let gone = whole.saturating_sub(keep);
        for first in self.earlier.iter().take(gone) {
            fs::remove_file(segments::path(&self.dir, *first))?;
        }
        self.earlier.drain(..gone);
        Ok(gone > 0)
    }

    /// Cuts `state` to its valid length, and the chunks to that of the segment that begins with event `segment`: what
    /// comes after it goes.
    pub(super) fn truncate(&mut self, state_bytes: u64, segment: u64, chunk_bytes: u64) -> io::Result<()> {
        while self.last > segment
            && let Some(before) = self.earlier.pop_back()
        {
            fs::remove_file(segments::path(&self.dir, self.last))?;
            self.last = before;
            self.chunks = open_to_append(&segments::path(&self.dir, before))?;
        }
        for (file, length) in [(&self.state, state_bytes), (&self.chunks, chunk_bytes)] {
            if file.metadata()?.len() > length {
                file.set_len(length)?;
            }
        }
        Ok(())
    }

    /// Makes everything written so far survive a power cut.
    ///
    /// # Errors
    /// Those of fsync. Never retry one: the pages that failed may be gone.
    pub fn sync(&mut self) -> io::Result<()> {
        self.chunks.sync_data()?;
        self.state.sync_data()
    }
}

/// Writes all of `bytes` at the end of `file`, or nothing.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        file.set_len(before).ok();
    })
}
