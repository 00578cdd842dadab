//! What all scripts are held to that travel with a task, whatever reads them.

use bytes::Bytes;

use crate::{convert::InvalidMessage, reason::Reason};

/// Longest script, in bytes. A control message has 1 MiB (design 04); the rest of it needs room too.
pub const SCRIPT_MAX: usize = 512 * 1024;

/// Refuses what is empty, too long, or no text.
pub(super) fn check(field: &str, name: &str, script: &Bytes) -> Result<(), InvalidMessage> {
    if script.is_empty() {
        return Err(empty(field, name));
    }
    if script.len() > SCRIPT_MAX {
        let reason = format!("has {} bytes; at most {SCRIPT_MAX} travel with a task", script.len());
        return Err(InvalidMessage::new(field, reason)
            .because(Reason::ScriptTooLarge)
            .with("name", shown_name(field, name))
            .with("size", format!("{} KiB", script.len().div_ceil(1_024)))
            .with("limit", format!("{} KiB", SCRIPT_MAX / 1_024)));
    }
    if let Some(offset) = memchr::memchr(0, script) {
        let reason = format!("is not text (NUL byte at offset {offset})");
        return Err(binary(field, name, reason));
    }
    Ok(())
}

/// There is nothing to run.
pub(super) fn empty(field: &str, name: &str) -> InvalidMessage {
    let invalid = InvalidMessage::new(field, "must not be empty").because(Reason::ScriptEmpty);
    invalid.with("name", shown_name(field, name))
}

/// It is no text.
pub(super) fn binary(field: &str, name: &str, reason: String) -> InvalidMessage {
    let invalid = InvalidMessage::new(field, reason).because(Reason::ScriptBinary);
    invalid.with("name", shown_name(field, name))
}

/// What people know a script by: its name, else its field.
const fn shown_name<'a>(field: &'a str, name: &'a str) -> &'a str {
    if name.is_empty() { field } else { name }
}
