//! The replay fence: attempts that ran here and whose folders are gone.
//!
//! A signed envelope stays valid until its expiry. The journal answers a second delivery while the folder is there;
//! after that this file does, for as long as the envelope could still be accepted.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use opslink::{id::AttemptId, time::UnixMicros};
use uuid::Uuid;

use super::frame::{HEADER_BYTES, Scan, finish};

/// Shortest memory of an attempt after its folder is gone.
const KEEP_AT_LEAST: Duration = Duration::from_secs(24 * 3600);

/// Rewrites the file when it holds this many more entries than are still needed.
const COMPACT_AFTER: usize = 1024;

/// Remembers attempts that must never start again.
#[derive(Debug)]
pub struct Fence {
    path: Option<PathBuf>,
    until: BTreeMap<AttemptId, UnixMicros>,
    written: usize,
}

impl Fence {
    /// A fence that lives in memory only.
    pub fn in_memory() -> Self {
        Self {
            path: None,
            until: BTreeMap::new(),
            written: 0,
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
        let until = Scan::new(&bytes).filter_map(parse).collect();
        let mut fence = Self {
            path: Some(path.to_owned()),
            until,
            written: 0,
        };
        fence.forget(now);
        fence.rewrite()?;
        Ok(fence)
    }

    /// Remembers an attempt for 24 h, and longer if its envelope could be accepted longer. Durable on return.
    ///
    /// # Errors
    /// Those of the disk: the folder must then stay.
    pub fn remember(&mut self, id: AttemptId, envelope_dies: UnixMicros, now: UnixMicros) -> io::Result<()> {
        let until = envelope_dies.max(now.plus(KEEP_AT_LEAST));
        self.until.insert(id, until);
        self.forget(now);
        if self.written > self.until.len() + COMPACT_AFTER {
            return self.rewrite();
        }
        if let Some(path) = &self.path {
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            file.write_all(&entry(id, until))?;
            file.sync_data()?;
            self.written += 1;
        }
        Ok(())
    }

    /// Says whether the attempt ran here and must not start again.
    pub fn holds(&self, id: AttemptId) -> bool {
        self.until.contains_key(&id)
    }

    fn forget(&mut self, now: UnixMicros) {
        self.until.retain(|_, until| *until > now);
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        let bytes: Vec<u8> = self.until.iter().flat_map(|(id, until)| entry(*id, *until)).collect();
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.written = self.until.len();
        Ok(())
    }
}

fn entry(id: AttemptId, until: UnixMicros) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(id.uuid().as_bytes());
    out.extend_from_slice(&until.0.to_le_bytes());
    finish(&mut out);
    out
}

fn parse(payload: &[u8]) -> Option<(AttemptId, UnixMicros)> {
    let (id, until) = payload.split_first_chunk::<16>()?;
    let until = i64::from_le_bytes(until.try_into().ok()?);
    Some((AttemptId::from_uuid(Uuid::from_bytes(*id)), UnixMicros(until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    #[test]
    fn it_remembers_across_restarts_and_forgets_when_the_envelope_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (short, long) = (AttemptId::new(), AttemptId::new());
        let mut fence = Fence::open(&path, UnixMicros(0)).unwrap();
        fence.remember(short, UnixMicros(HOUR), UnixMicros(0)).unwrap();
        fence.remember(long, UnixMicros(48 * HOUR), UnixMicros(0)).unwrap();

        let fence = Fence::open(&path, UnixMicros(23 * HOUR)).unwrap();
        assert!(fence.holds(short) && fence.holds(long));
        let fence = Fence::open(&path, UnixMicros(25 * HOUR)).unwrap();
        assert!(!fence.holds(short) && fence.holds(long));
    }

    #[test]
    fn a_torn_tail_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (first, second) = (AttemptId::new(), AttemptId::new());
        let mut fence = Fence::open(&path, UnixMicros(0)).unwrap();
        fence.remember(first, UnixMicros(0), UnixMicros(0)).unwrap();
        fence.remember(second, UnixMicros(0), UnixMicros(0)).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length - 1)
            .unwrap();
        let fence = Fence::open(&path, UnixMicros(1)).unwrap();
        assert!(fence.holds(first) && !fence.holds(second));
    }
}
