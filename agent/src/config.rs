//! Where the agent keeps what.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The state folder and the names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Wraps a path; nothing is made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder for the calling user: `/var/lib/opslink-agent` for root, otherwise under `$XDG_STATE_HOME` or
    /// `~/.local/state`.
    pub fn default_for_user() -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self::new("/var/lib/opslink-agent");
        }
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
        let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        Self(base.unwrap_or_else(|| PathBuf::from(".")).join("opslink-agent"))
    }

    /// Makes the folders, readable by their owner only. A folder that holds something else is nobody's state: it is left
    /// as it is.
    ///
    /// # Errors
    /// Those of the disk; `InvalidInput` for a folder that is not the agent's own.
    pub fn prepare(&self) -> io::Result<()> {
        match fs::metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            }
            Err(error) => return Err(error),
            Ok(found) if found.mode() & 0o077 == 0 && found.uid() == nix::unistd::geteuid().as_raw() => {}
            Ok(found) => {
                self.may_be_made_private(&found)?;
                fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))?;
            }
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.attempts())
    }

    fn may_be_made_private(&self, found: &fs::Metadata) -> io::Result<()> {
        let no = |why: &str| {
            let message = format!("it {why}; give a folder that does not exist yet, or an empty one");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        };
        if found.uid() != nix::unistd::geteuid().as_raw() {
            return no("belongs to another user");
        }
        // Sticky: a place for everybody, as /tmp is.
        if found.mode() & 0o1000 != 0 {
            return no("is shared by all users");
        }
        let is_ours = self.identity().exists() || self.attempts().exists();
        if !is_ours && fs::read_dir(&self.0)?.next().is_some() {
            return no("is open to other users and holds files that are not the agent's");
        }
        Ok(())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Who this agent is: key, certificate, roots.
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity.json")
    }

    /// What tasks may do here.
    pub fn policy(&self) -> PathBuf {
        self.0.join(crate::policy::FILE_NAME)
    }

    /// Named endpoints.
    pub fn connections(&self) -> PathBuf {
        self.0.join(crate::connections::FILE_NAME)
    }

    /// The journal.
    pub fn attempts(&self) -> PathBuf {
        self.0.join("attempts")
    }

    /// The replay fence.
    pub fn fence(&self) -> PathBuf {
        self.0.join("fence")
    }

    /// Where runners dial the agent.
    pub fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// Held by the one agent that uses this folder.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_folder_of_others_is_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let with = |name: &str, mode: u32, file: Option<&str>| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            if let Some(file) = file {
                fs::write(folder.join(file), "x").unwrap();
            }
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            folder
        };
        let fresh = root.path().join("a/b");
        StateDir::new(&fresh).prepare().unwrap();
        assert_eq!(mode(&fresh), 0o700);
        for (folder, allowed) in [
            (with("empty", 0o755, None), true),
            (with("ours", 0o755, Some("identity.json")), true),
            (with("private", 0o700, Some("other")), true),
            (with("shared", 0o1777, None), false),
            (with("used", 0o755, Some("other")), false),
        ] {
            let before = mode(&folder);
            assert_eq!(
                StateDir::new(&folder).prepare().is_ok(),
                allowed,
                "{}",
                folder.display()
            );
            assert_eq!(mode(&folder), if allowed { 0o700 } else { before });
        }
    }
}
