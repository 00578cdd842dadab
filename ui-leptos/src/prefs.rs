//! Choices kept in this browser: theme, language, log options. Never anything secret.

use crate::dom;

/// Reads a choice.
pub(crate) fn get(name: &str) -> Option<String> {
    dom::storage()?.get_item(&key(name)).ok().flatten()
}

/// Keeps a choice. A browser that keeps nothing (private mode) is no error.
pub(crate) fn set(name: &str, value: &str) {
    if let Some(storage) = dom::storage() {
        let _ = storage.set_item(&key(name), value);
    }
}

/// Forgets a choice.
pub(crate) fn remove(name: &str) {
    if let Some(storage) = dom::storage() {
        let _ = storage.remove_item(&key(name));
    }
}

/// The browser's name of a choice.
pub(crate) fn key(name: &str) -> String {
    format!("opslink.{name}")
}
