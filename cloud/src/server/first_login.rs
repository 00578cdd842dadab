//! The generated password of the first admin, in a file that only its owner reads.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use opslink::problem::Problem;

use super::prepare::folder_problem;
use crate::identity::FirstPassword;

/// Returns the file's path. It is removed once the password is changed.
pub(super) fn file(data: &Path) -> PathBuf {
    data.join("initial-password")
}

/// Writes the password; an old file is replaced, never followed.
pub(super) fn write(data: &Path, first: &FirstPassword) -> Result<(), Problem> {
    let path = file(data);
    let written = || -> std::io::Result<()> {
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        writeln!(out, "{}", first.password)?;
        out.sync_all()
    };
    written().map_err(|error| folder_problem(data, &error))
}
