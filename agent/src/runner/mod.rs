//! The runner: one attempt, from its envelope to its End event.
//!
//! [`drive`] is the core: it checks the spec, starts the deadline, runs the executor, seals its output into chunks and
//! ends with an outcome. It knows no link, and of the disk only its spool and the attempt's scratch folder. [`process`] is the runner process around it, [`fork_server`] what
//! makes such processes.
//!
//! ```text
//! executor ──Event──► sink ──► sealer ──pb::LogChunk──► Spool (journal)
//!                    (queue)   (hash, encode, compress)
//! ```
//! In a runner process the sealer has its own thread; in a process that holds many attempts (simulator) it works
//! inline, so that ten thousand attempts need no thread at all.

use std::{io, path::PathBuf};

use opslink::{event::Note, pb};

mod conclude;
mod disk_spool;
mod drive;
pub mod fork_server;
mod inline_sink;
pub mod process;
mod sealer;
mod socket;
mod thread_sink;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use disk_spool::DEFAULT_QUOTA_BYTES;
pub use drive::{Attempt, drive, drive_with_thread};

/// Where an attempt's chunks go.
pub trait Spool: Send + Sync {
    /// Takes a chunk. May block while there is no space: output waits, it is never dropped.
    ///
    /// # Errors
    /// When the chunk cannot be kept at all: the attempt's output ends here and its work is canceled.
    fn append(&self, chunk: pb::LogChunk) -> io::Result<()>;

    /// The work is being ended: what is left is little, and waits for no quota any more.
    fn lift_quota(&self) {}

    /// The executor has come back, or was given up.
    fn work_is_over(&self) {}

    /// Something to tell people about the last `append`, such as a wait for a full disk. Asked after each one.
    fn take_note(&self) -> Option<Note> {
        None
    }

    /// The attempt's own scratch folder; a name under the system's temporary folder when there is none.
    fn scratch(&self) -> Option<PathBuf> {
        None
    }
}
