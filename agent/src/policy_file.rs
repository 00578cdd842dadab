//! The policy file as it changes: whoever edits `policy.toml` need not restart the agent.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    dial::chain_text,
    policy::{Error, Policy},
};

/// What changes when a file is edited, replaced, or given to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Knows which version of the file was read last.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    path: PathBuf,
    /// Absent when the file was.
    seen: Option<Stamp>,
}

impl PolicyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be used, see [`Policy::load`].
    pub fn open(path: &Path) -> Result<(Self, Policy), Error> {
        let file = Self {
            path: path.to_owned(),
            // Before the text: a change in between is seen the next time.
            seen: Stamp::of(path),
        };
        let policy = Policy::load(path)?;
        Ok((file, policy))
    }

    /// Reads the file again when it is not the one that was read last; says so once for each change.
    fn changed(&mut self) -> Option<Result<Policy, Error>> {
        let now = Stamp::of(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(Policy::load(&self.path))
    }

    /// As [`Self::changed`], for whoever goes on with the policy before when the new one cannot be used: that is told
    /// here, once.
    pub fn changed_usable(&mut self) -> Option<Policy> {
        match self.changed()? {
            Ok(policy) => {
                tracing::info!("the policy was read again");
                Some(policy)
            }
            Err(error) => {
                let error = chain_text(&error);
                tracing::warn!(%error, "the changed policy cannot be used; the one before stays in force");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_once_and_a_bad_one_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        fs::write(&path, "allow = [\"shell\"]\n").unwrap();
        let (mut file, policy) = PolicyFile::open(&path).unwrap();
        assert!(policy.allows_kind("shell") && !policy.allows_kind("sql"));
        assert!(file.changed().is_none());

        fs::write(&path, "allow = [\"shell\", \"sql\"]\n").unwrap();
        let policy = file.changed().expect("the change is seen").unwrap();
        assert!(policy.allows_kind("sql"));
        assert!(file.changed().is_none());

        fs::write(&path, "allow = \n").unwrap();
        assert!(file.changed().expect("the change is seen").is_err());
        assert!(file.changed().is_none(), "told once");
        fs::remove_file(&path).unwrap();
        assert!(file.changed().expect("the loss is seen").is_err());
        assert!(file.changed().is_none(), "told once");
    }
}
