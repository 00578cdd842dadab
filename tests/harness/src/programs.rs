//! Where programs are: our own binaries, and those of the machine.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, bail};

/// Set once by programs that build the binaries themselves.
static BINS: OnceLock<PathBuf> = OnceLock::new();

/// Says where our binaries are; the first call wins.
pub fn use_bins(folder: &Path) {
    let _ = BINS.set(folder.to_owned());
}

/// Returns one of our binaries: from [`use_bins`], `OPSLINK_BIN_DIR`, or the target folder that this process came from.
pub fn ours(name: &str) -> Result<PathBuf> {
    let folder = match BINS
        .get()
        .cloned()
        .or_else(|| env::var_os("OPSLINK_BIN_DIR").map(PathBuf::from))
    {
        Some(folder) => folder,
        None => {
            let exe = env::current_exe()?;
            // Tests live in target/<profile>/deps, binaries one above.
            let folder = exe.parent().unwrap_or(Path::new("."));
            if folder.ends_with("deps") {
                folder.parent().unwrap_or(folder).to_owned()
            } else {
                folder.to_owned()
            }
        }
    };
    let file = folder.join(name);
    if !file.is_file() {
        bail!(
            "{} does not exist: run `cargo build` first, or `cargo xtask test`",
            file.display()
        );
    }
    Ok(file)
}

/// Finds a server program, also in the folders that a normal user's PATH lacks.
pub fn which(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file())
}

/// Finds a program of PostgreSQL, which Debian keeps off the PATH.
pub fn postgres(name: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    versions.sort();
    let newest = versions
        .into_iter()
        .rev()
        .map(|folder| folder.join("bin").join(name))
        .find(|file| file.is_file());
    newest.or_else(|| which(&[name]))
}

/// Returns the folder for tools that were built or fetched for the tests: kept between checkouts.
pub fn cache() -> PathBuf {
    if let Some(folder) = env::var_os("OPSLINK_CACHE") {
        return PathBuf::from(folder);
    }
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("opslink")
}

/// Returns grpcurl: from the PATH, or as built for the tests.
pub fn grpcurl() -> Option<PathBuf> {
    which(&["grpcurl"]).or_else(|| Some(cache().join("tools/bin/grpcurl")).filter(|file| file.is_file()))
}

/// Returns the Python that has grpcio.
pub fn python() -> PathBuf {
    cache().join("tools/python/bin/python")
}

/// Says whether this process runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
