//! Where things are: the checkout, the target folder, the cache of tools.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
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
