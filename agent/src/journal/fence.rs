//! The fence: every attempt that was ever taken here, for as long as its envelope could be accepted again.
//!
//! An attempt is written down here, durably, before anything of it may run. That is the one sync that a task waits for:
//! its folder need not survive a power cut, because what the fence knows and no folder shows is reported as lost. The
//! death of processes alone takes nothing from either, since the kernel still has what they wrote.
//!
//! ```text
//! taken ──────► closed ──────► forgotten
//!  │ durable     │ not synced    when no envelope of it could be accepted any more
//!  │             └ its folder goes; said once more than needed after a power cut, which harms nothing
//!  └ after a power cut, without a folder: lost
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use opslink::{id::AttemptId, time::UnixMicros};
use uuid::Uuid;

use super::{
    attempt::append,
    frame::{HEADER_BYTES, Scan, finish},
};

/// Shortest memory of an attempt.
const KEEP_AT_LEAST: Duration = Duration::from_secs(24 * 3600);

/// Looks for what is not needed any more after so many records.
const SWEEP_AFTER: usize = 1024;

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// From then on no envelope of it is accepted.
    until: UnixMicros,
    /// The cloud has it for good, or it was never started.
    closed: bool,
}

/// Remembers attempts, so that none starts twice and none is forgotten.
#[derive(Debug)]
pub struct Fence {
    /// None for a fence that lives in memory only.
    file: Option<(PathBuf, File)>,
    entries: BTreeMap<AttemptId, Entry>,
    /// Records in the file, and of them since the last sweep.
    written: usize,
    unswept: usize,
}

impl Fence {
    /// A fence that lives in memory only.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            entries: BTreeMap::new(),
            written: 0,
            unswept: 0,
        }
    }

    /// Reads the file; a missing one is empty, a torn tail is cut.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(path: &Path, now: UnixMicros) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut entries = Scan::new(&bytes).filter_map(parse).collect();
        forget(&mut entries, now);
        Ok(Self {
            written: entries.len(),
            unswept: 0,
            file: Some((path.to_owned(), rewrite(path, &entries)?)),
            entries,
        })
    }

    /// Takes an attempt, durably: it is remembered for 24 h, and longer if its envelope could be accepted longer.
    ///
    /// # Errors
    /// Those of the disk: nothing of the attempt may run then.
    pub fn take(&mut self, id: AttemptId, envelope_dies: UnixMicros, now: UnixMicros) -> io::Result<()> {
        let until = envelope_dies.max(now.plus(KEEP_AT_LEAST));
        self.write(id, Entry { until, closed: false }, now)?;
        match &self.file {
            Some((_, file)) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// The cloud has the attempt for good, or it was never started: its folder may go.
    ///
    /// # Errors
    /// Those of the disk: the folder must then stay.
    pub fn close(&mut self, id: AttemptId, now: UnixMicros) -> io::Result<()> {
        let until = self
            .entries
            .get(&id)
            .map_or_else(|| now.plus(KEEP_AT_LEAST), |entry| entry.until);
        self.write(id, Entry { until, closed: true }, now)
    }

    /// Says whether the attempt was taken here and must not start again.
    pub fn holds(&self, id: AttemptId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Attempts that were taken and not closed.
    pub fn open_attempts(&self) -> impl Iterator<Item = AttemptId> + '_ {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.closed)
            .map(|(id, _)| *id)
    }

    fn write(&mut self, id: AttemptId, entry: Entry, now: UnixMicros) -> io::Result<()> {
        if self.unswept >= SWEEP_AFTER {
            self.sweep(now)?;
        }
        if let Some((_, file)) = &mut self.file {
            append(file, &encode(id, entry))?;
        }
        self.written += 1;
        self.unswept += 1;
        self.entries.insert(id, entry);
        Ok(())
    }

    /// Forgets what is not needed any more, and writes the file anew when more than half of it is of no use (an attempt
    /// has two records): what that costs is spread over as many attempts as it writes.
    fn sweep(&mut self, now: UnixMicros) -> io::Result<()> {
        forget(&mut self.entries, now);
        self.unswept = 0;
        if let Some((path, file)) = &mut self.file
            && self.written > 2 * self.entries.len() + SWEEP_AFTER
        {
            *file = rewrite(path, &self.entries)?;
            self.written = self.entries.len();
        }
        Ok(())
    }
}

/// Attempts that are not closed stay, whatever the time.
fn forget(entries: &mut BTreeMap<AttemptId, Entry>, now: UnixMicros) {
    entries.retain(|_, entry| !entry.closed || entry.until > now);
}

/// Writes a new file with what is needed, and opens it for more.
fn rewrite(path: &Path, entries: &BTreeMap<AttemptId, Entry>) -> io::Result<File> {
    let fresh = path.with_extension("new");
    let bytes: Vec<u8> = entries.iter().flat_map(|(id, entry)| encode(*id, *entry)).collect();
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(&fresh)?;
    append(&mut file, &bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn encode(id: AttemptId, entry: Entry) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(id.uuid().as_bytes());
    out.extend_from_slice(&entry.until.0.to_le_bytes());
    out.push(entry.closed.into());
    finish(&mut out);
    out
}

fn parse(payload: &[u8]) -> Option<(AttemptId, Entry)> {
    let (id, rest) = payload.split_first_chunk::<16>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let entry = Entry {
        until: UnixMicros(i64::from_le_bytes(*until)),
        // The first agents wrote only attempts whose folders were gone, and without this byte.
        closed: rest.first().is_none_or(|closed| *closed != 0),
    };
    Some((AttemptId::from_uuid(Uuid::from_bytes(*id)), entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    fn at(hours: i64) -> UnixMicros {
        UnixMicros(hours * HOUR)
    }

    #[test]
    fn it_remembers_across_restarts_and_forgets_when_the_envelope_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (short, long) = (AttemptId::new(), AttemptId::new());
        let mut fence = Fence::open(&path, at(0)).unwrap();
        for (id, dies) in [(short, at(1)), (long, at(48))] {
            fence.take(id, dies, at(0)).unwrap();
            fence.close(id, at(0)).unwrap();
        }

        let fence = Fence::open(&path, at(23)).unwrap();
        assert!(fence.holds(short) && fence.holds(long));
        let fence = Fence::open(&path, at(25)).unwrap();
        assert!(!fence.holds(short) && fence.holds(long));
    }

    #[test]
    fn what_was_taken_and_not_closed_is_never_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (open, closed) = (AttemptId::new(), AttemptId::new());
        let mut fence = Fence::open(&path, at(0)).unwrap();
        fence.take(open, at(1), at(0)).unwrap();
        fence.take(closed, at(1), at(0)).unwrap();
        fence.close(closed, at(0)).unwrap();

        let fence = Fence::open(&path, at(1_000)).unwrap();
        assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [open]);
        assert!(!fence.holds(closed));
    }

    #[test]
    fn a_torn_tail_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (first, second) = (AttemptId::new(), AttemptId::new());
        let mut fence = Fence::open(&path, at(0)).unwrap();
        fence.take(first, at(0), at(0)).unwrap();
        fence.take(second, at(0), at(0)).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length - 1).unwrap();
        let mut fence = Fence::open(&path, at(0)).unwrap();
        assert!(fence.holds(first) && !fence.holds(second));
        // The tail was cut off: what comes next can be read.
        fence.take(second, at(0), at(0)).unwrap();
        assert!(Fence::open(&path, at(0)).unwrap().holds(second));
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let mut fence = Fence::open(&path, at(0)).unwrap();
        for round in 0..2_000 {
            let id = AttemptId::new();
            // A day apart: each is forgotten when the next ones come.
            fence.take(id, at(0), at(25 * round)).unwrap();
            fence.close(id, at(25 * round)).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 200_000);
        assert!(Fence::open(&path, at(0)).unwrap().entries.len() < 2_000);
    }
}
