//! Where things are: the checkout, the target folder, the cache of tools.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Returns the root of the checkout that cargo runs this for, which may not be the one that it was built in: checkouts
/// can share a target folder.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = Path::new(&manifest);
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Returns cargo's target folder.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the folder of the binaries of a cargo profile.
pub(crate) fn bins(profile: &str) -> PathBuf {
    target().join(if profile == "dev" { "debug" } else { profile })
}
