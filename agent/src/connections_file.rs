//! The connections file as it changes: whoever edits `connections.toml` need not restart the agent.

use std::path::{Path, PathBuf};

use crate::{
    connections::{Connections, Error},
    dial::chain_text,
};

/// Reads the file again for each link. Whoever breaks it does not end the agent.
#[derive(Debug)]
pub struct ConnectionsFile {
    path: PathBuf,
    good: Connections,
    /// What was said about the file as it is now.
    told: Option<String>,
}

impl ConnectionsFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            good: Connections::load(path)?,
            told: None,
        })
    }

    /// Reads the file again. One that cannot be used changes nothing and is told once.
    pub fn current(&mut self) -> &Connections {
        match Connections::load(&self.path) {
            Ok(connections) => {
                self.good = connections;
                self.told = None;
            }
            Err(error) => {
                let error = chain_text(&error);
                if self.told.as_ref() != Some(&error) {
                    tracing::warn!(
                        %error,
                        "the changed connections cannot be used; the cloud is told the ones before, and tasks that need one fail until the file is mended"
                    );
                    self.told = Some(error);
                }
            }
        }
        &self.good
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::connections::FILE_NAME;

    #[test]
    fn a_broken_file_changes_nothing_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "[[connection]]\nname='a'\nurl='sqlite:///a'\n").unwrap();
        let mut file = ConnectionsFile::open(&path).unwrap();
        let names = |connections: &Connections| connections.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        fs::write(&path, "[[connection]\n").unwrap();
        assert_eq!(names(file.current()), ["a"]);
        assert!(file.told.is_some());
        assert_eq!(names(file.current()), ["a"]);
        fs::write(&path, "[[connection]]\nname='b'\nurl='sqlite:///b'\n").unwrap();
        assert_eq!(names(file.current()), ["b"]);
        assert!(file.told.is_none());
        fs::write(&path, "[[connection]\n").unwrap();
        assert!(ConnectionsFile::open(&path).is_err(), "a start says so instead");
    }
}
