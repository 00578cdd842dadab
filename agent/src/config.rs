//! Where the agent keeps what.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
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

    /// Makes the folders, readable by their owner only.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn prepare(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.attempts())
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
