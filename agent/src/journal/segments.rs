//! The files that an attempt's chunks are in: `chunks`, then `chunks.<first event>`, each as long as one more chunk made
//! it. What the cloud has acknowledged goes a whole file at a time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Length from which on a segment takes no more chunks. Small, so that a nearly full disk has something to give back.
pub(super) const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes in acknowledged segments that are kept while the disk has room: a database that fails over may have lost what it
/// acknowledged a moment ago, and asks again.
pub(super) const KEEP_ACKNOWLEDGED_BYTES: u64 = 256 * 1024 * 1024;

const FIRST: &str = "chunks";

/// Returns the file of the segment that begins with this event.
pub(super) fn path(dir: &Path, first_seq: u64) -> PathBuf {
    match first_seq {
        0 => dir.join(FIRST),
        later => dir.join(format!("{FIRST}.{later}")),
    }
}

/// First events of the segments in an attempt's folder, in order.
///
/// # Errors
/// Those of reading the folder.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(FIRST)) else {
            continue;
        };
        match rest.strip_prefix('.') {
            Some(number) => found.extend(number.parse::<u64>()),
            None if rest.is_empty() => found.push(0),
            None => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}
