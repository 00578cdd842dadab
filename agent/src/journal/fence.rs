//! The fence: every attempt that was ever taken here, for as long as its envelope could be accepted again.
//!
//! An attempt is written down here, durably, before anything of it may run. That is the one sync that a task waits for:
//! its folder need not survive a power cut, because what the fence knows and no folder shows is reported as lost. The
//! death of processes alone takes nothing from either, since the kernel still has what they wrote.
//!
//! ```text
//! taken ──────► closed · refused ──────► forgotten
//!  │ durable     │ not synced            when no envelope of it could be accepted any more
//!  │             └ its folder goes; said once more than needed after a power cut, which harms nothing
//!  └ after a power cut, without a folder: lost
//! ```
//! A damaged record costs itself only: what is whole before and behind it counts, and so does what can still be read of it,
//! as far as that keeps an attempt from being started. The file is then written anew, and the damaged one kept beside it.
//!
//! A database that went back in time may make another attempt of what has run: it has another id, and the same number
//! among the attempts of its task. So the number is remembered too, of whatever may have run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use opslink::{id::AttemptId, time::UnixMicros};

use super::attempt::append;
use crate::crashpoint;

mod entry;

use entry::{Entry, State, encode};
pub use entry::{Past, Place, Unstarted};

/// Shortest memory of an attempt.
const KEEP_AT_LEAST: Duration = Duration::from_secs(24 * 3600);

/// Looks for what is not needed any more after so many records.
const SWEEP_AFTER: usize = 1024;

/// Remembers attempts, so that none starts twice and none is forgotten.
#[derive(Debug)]
pub struct Fence {
    /// None for a fence that lives in memory only.
    log: Option<Log>,
    entries: BTreeMap<AttemptId, Entry>,
    /// The places that are held, by task and number.
    places: BTreeSet<Place>,
    /// Ends that the disk did not take yet.
    owed: BTreeSet<AttemptId>,
    /// Records in the file, and of them since the last sweep.
    written: usize,
    unswept: usize,
}

/// The file.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// The file's name survives a power cut.
    is_named: bool,
}

impl Log {
    /// Makes everything written so far survive a power cut.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.is_named
            && let Some(folder) = self.path.parent()
        {
            File::open(folder)?.sync_all()?;
            self.is_named = true;
        }
        Ok(())
    }
}

impl Fence {
    /// A fence that lives in memory only.
    pub fn in_memory() -> Self {
        Self {
            log: None,
            entries: BTreeMap::new(),
            places: BTreeSet::new(),
            owed: BTreeSet::new(),
            written: 0,
            unswept: 0,
        }
    }

    /// Reads the file and goes on in it; a missing one is empty, a torn tail is cut, what is damaged is passed over and
    /// told. Needs no room on the disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(path: &Path, now: UnixMicros) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let said = entry::read(&bytes);
        let is_damaged = said.is_damaged();
        if is_damaged {
            let (passed_over_bytes, hints) = (said.passed_over, said.hints.len());
            // An attempt of which that was the last trace may start again, should a database that was set back send it.
            tracing::error!(path = %path.display(), passed_over_bytes, hints, "the fence is damaged, see to the disk: what \
                 only its damaged records knew is forgotten");
        } else if said.valid_bytes < bytes.len() {
            file.set_len(said.valid_bytes as u64)?;
        }
        let log = Log {
            path: path.to_owned(),
            file,
            is_named: false,
        };
        let written = said.records.len();
        let hints = said.hints.into_iter().map(|(id, hint)| {
            let until = hint.until.max(now.plus(KEEP_AT_LEAST));
            (id, Entry { until, ..hint })
        });
        // First the hints: a whole record says more.
        let entries = last_words(hints.chain(said.records));
        let mut fence = Self {
            log: Some(log),
            written,
            places: entries.values().filter_map(Entry::held_place).collect(),
            entries,
            owed: BTreeSet::new(),
            unswept: 0,
        };
        if is_damaged {
            fence.keep_damaged_aside();
            fence.write_anew();
        }
        fence.sweep(now);
        Ok(fence)
    }

    /// Takes an attempt, durably: it is remembered for 24 h, and longer if its envelope could be accepted longer.
    ///
    /// # Errors
    /// Those of the disk: nothing of the attempt may run then.
    pub fn take(
        &mut self,
        id: AttemptId,
        place: Option<Place>,
        envelope_dies: UnixMicros,
        now: UnixMicros,
    ) -> io::Result<()> {
        let entry = Entry {
            until: envelope_dies.max(now.plus(KEEP_AT_LEAST)),
            state: State::Taken,
            place,
        };
        self.write(id, entry, now)?;
        crashpoint!("fence.written");
        let synced = self.log.as_mut().map_or(Ok(()), Log::sync);
        if synced.is_err() {
            // It is in the file, and nothing of it will run.
            self.refuse(id, Unstarted::Unstartable, now).ok();
        }
        synced
    }

    /// The cloud has the attempt for good: its folder may go.
    ///
    /// # Errors
    /// Those of the disk. The folder may go all the same: this fence knows, and writes it down with the next record; after
    /// a crash before that, the cloud is told once more than needed, which harms nothing.
    pub fn close(&mut self, id: AttemptId, now: UnixMicros) -> io::Result<()> {
        self.settle(id, State::Closed, now)
    }

    /// The attempt was taken, and nothing of it has run or will: its folder may go, and its place is free.
    ///
    /// # Errors
    /// As [`Self::close`]; after a crash before it is written down, the cloud is told that the attempt may have run.
    pub fn refuse(&mut self, id: AttemptId, why: Unstarted, now: UnixMicros) -> io::Result<()> {
        self.settle(id, State::Refused(why), now)
    }

    fn settle(&mut self, id: AttemptId, state: State, now: UnixMicros) -> io::Result<()> {
        let known = self.entries.get(&id);
        let entry = Entry {
            until: known.map_or_else(|| now.plus(KEEP_AT_LEAST), |entry| entry.until),
            place: known.and_then(|entry| entry.place),
            state,
        };
        self.put(id, entry);
        self.write(id, entry, now).inspect_err(|_| {
            self.owed.insert(id);
        })
    }

    /// What became of this attempt, or of one in its place, that was here before; `None` when it is new and may start.
    pub fn past(&self, id: AttemptId, place: Option<Place>) -> Option<Past> {
        match self.entries.get(&id).map(|entry| entry.state) {
            Some(State::Taken | State::Closed) => Some(Past::MayHaveRun),
            Some(State::Refused(why)) => Some(Past::Refused(why)),
            None => place
                .is_some_and(|place| self.is_behind(place))
                .then_some(Past::MayHaveRun),
        }
    }

    /// Says whether the task has had an attempt with this number or a higher one.
    fn is_behind(&self, place: Place) -> bool {
        let last = Place {
            number: u32::MAX,
            ..place
        };
        self.places.range(place..=last).next().is_some()
    }

    /// Attempts that were taken and not closed.
    pub fn open_attempts(&self) -> impl Iterator<Item = AttemptId> + '_ {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.state == State::Taken)
            .map(|(id, _)| *id)
    }

    fn write(&mut self, id: AttemptId, entry: Entry, now: UnixMicros) -> io::Result<()> {
        if self.unswept >= SWEEP_AFTER {
            self.sweep(now);
        }
        self.append(id, entry)?;
        self.put(id, entry);
        while let Some(owed) = self.owed.first().copied() {
            // Forgotten since: nobody asks any more.
            if let Some(entry) = self.entries.get(&owed).copied()
                && self.append(owed, entry).is_err()
            {
                break;
            }
            self.owed.remove(&owed);
        }
        Ok(())
    }

    fn put(&mut self, id: AttemptId, entry: Entry) {
        let before = self.entries.insert(id, entry);
        if let Some(place) = before.and_then(|before| before.held_place()) {
            self.places.remove(&place);
        }
        self.places.extend(entry.held_place());
    }

    fn append(&mut self, id: AttemptId, entry: Entry) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            append(&mut log.file, &encode(id, entry))?;
        }
        self.written += 1;
        self.unswept += 1;
        Ok(())
    }

    /// Forgets what is not needed any more, and writes the file anew when more than half of it is of no use (an attempt
    /// has two records): what that costs is spread over as many attempts as it writes. When the disk has no room for
    /// that, the file at hand is as good.
    fn sweep(&mut self, now: UnixMicros) {
        self.forget(now);
        self.unswept = 0;
        if self.written > 2 * self.entries.len() + SWEEP_AFTER {
            self.write_anew();
        }
    }

    /// Writes the file anew, with nothing in it but what is known. When the disk has no room for that, the one at hand goes
    /// on.
    fn write_anew(&mut self) {
        let Some(log) = &mut self.log else { return };
        match rewrite(&log.path, &self.entries) {
            Ok(file) => {
                log.file = file;
                // From here on the old file has no name: whatever is synced next, this one is written to.
                log.is_named = false;
                self.written = self.entries.len();
                self.owed.clear();
            }
            Err(error) => tracing::warn!(%error, "the fence could not be written anew; it goes on as it is"),
        }
    }

    /// Gives the file a second name, under which the damaged bytes stay for whoever wants to look at them.
    fn keep_damaged_aside(&self) {
        let Some(log) = &self.log else { return };
        let aside = log.path.with_extension("damaged");
        // Of an earlier time.
        fs::remove_file(&aside).ok();
        if let Err(error) = fs::hard_link(&log.path, &aside) {
            tracing::warn!(%error, "the damaged fence is not kept");
        }
    }

    /// Attempts that are not closed stay, whatever the time.
    fn forget(&mut self, now: UnixMicros) {
        let places = &mut self.places;
        self.entries.retain(|_, entry| {
            let is_needed = entry.state == State::Taken || entry.until > now;
            if !is_needed && let Some(place) = entry.held_place() {
                places.remove(&place);
            }
            is_needed
        });
    }
}

/// The last record of each attempt. An earlier agent that was back for a while leaves out the places.
fn last_words(records: impl Iterator<Item = (AttemptId, Entry)>) -> BTreeMap<AttemptId, Entry> {
    let mut entries = BTreeMap::<AttemptId, Entry>::new();
    for (id, mut entry) in records {
        let before = entries.get(&id).and_then(|before| before.place);
        entry.place = entry.place.or(before);
        entries.insert(id, entry);
    }
    entries
}

/// Writes a new file with what is needed in the place of the old one, and opens it for more. Its name does not yet
/// survive a power cut: until then the old file would be back, which says the same.
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
    let written = append(&mut file, &bytes).and_then(|()| file.sync_all());
    crashpoint!("fence.compacted");
    if let Err(error) = written.and_then(|()| fs::rename(&fresh, path)) {
        // It takes room from those who need it.
        fs::remove_file(&fresh).ok();
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
