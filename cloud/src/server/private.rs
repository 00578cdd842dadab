//! The data folder belongs to one user: it holds the keys of every agent and person.
//!
//! Set and then looked at, at every start, also for files that are there already: a folder may have been made by an
//! installer, unpacked from a backup, or opened by hand. What cannot be closed to others keeps the cloud from starting.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use opslink::{problem::Problem, reason::Reason};

/// Everything that others could do.
const OTHERS: u32 = 0o077;

/// Closes the folder and everything in it to others.
///
/// # Errors
/// `DATA_FOLDER_EXPOSED`, naming what stays open and why.
pub(super) fn close(data: &Path) -> Result<(), Problem> {
    close_one(data, 0o700)?;
    // Symbolic links are not followed: what they point to is not ours to change.
    let entries = fs::read_dir(data).map_err(|error| exposed(data, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| exposed(data, error))?;
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(exposed(&entry.path(), error)),
        };
        if kind.is_dir() {
            close(&entry.path())?;
        } else if kind.is_file() {
            close_one(&entry.path(), 0o600)?;
        }
    }
    Ok(())
}

fn close_one(path: &Path, mode: u32) -> Result<(), Problem> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.permissions().mode(),
        // A database removes files of its own while we look.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(exposed(path, error)),
    };
    if found & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(exposed(path, error)),
    }
    // Some file systems take a mode and keep their own.
    match fs::symlink_metadata(path) {
        Ok(now) if now.permissions().mode() & OTHERS == 0 => {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", found & 0o777), "others could read this; now they cannot");
            Ok(())
        }
        Ok(_) => Err(exposed(path, "its file system keeps no modes")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(exposed(path, error)),
    }
}

fn exposed(path: &Path, detail: impl std::fmt::Display) -> Problem {
    Problem::new(Reason::DataFolderExposed)
        .with("path", path.display())
        .with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_there_already_is_closed_too_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::create_dir_all(data.join("below")).unwrap();
        for file in [
            data.join("main.db"),
            data.join("main.db-wal"),
            data.join("below/x"),
            outside.clone(),
        ] {
            fs::write(&file, "key").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, data.join("link")).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        close(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&data.join("below")), 0o700);
        for file in ["main.db", "main.db-wal", "below/x"] {
            assert_eq!(mode(&data.join(file)), 0o600, "{file}");
        }
        assert_eq!(mode(&outside), 0o644);
    }

    #[test]
    fn a_folder_that_cannot_be_closed_is_named() {
        // Nobody may change modes there, not even root.
        let path = Path::new("/proc/self");
        let problem = close_one(&path.join("status"), 0o600).unwrap_err();
        assert_eq!(problem.reason, Reason::DataFolderExposed);
        assert_eq!(problem.args["path"], "/proc/self/status");
    }
}
