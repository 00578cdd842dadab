//! What is typed on a composer's page stays in its tab until it runs: over another page, a reload, another language and a
//! session that ended. It is kept for who typed it, and goes with the logout.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use super::composer::Composer;
use crate::{
    dom,
    session::{State, session},
};

/// The fields of one kind of task.
pub(crate) struct Fields {
    /// In sight.
    pub shown: Vec<RwSignal<String>>,
    /// Among the options, which can be folded.
    pub folded: Vec<RwSignal<String>>,
    /// Switches.
    pub flags: Vec<RwSignal<bool>>,
    /// They are all that will run. What has a part without a field would come back without that part.
    pub whole: Signal<bool>,
}

/// No field can hold it.
const BETWEEN: &str = "\0";

/// Brings back what was typed, unless the URL says what to begin with, and keeps what is typed from now on.
pub(crate) fn keep(composer: Composer, mut fields: Fields) {
    let Some(key) = key(composer.path) else { return };
    let options = composer.options;
    fields.folded.extend([
        options.timeout,
        options.parallel,
        options.max_failures,
        options.queue_ttl,
        options.reason,
    ]);
    fields.flags.push(options.queue);
    let Fields {
        shown,
        folded,
        flags,
        whole,
    } = fields;
    let query = use_query_map().get_untracked();
    let again = query.get("from").is_some();
    let begun = query.get("cmd").or_else(|| query.get("sql")).unwrap_or_default();
    let kept = dom::tab_storage().and_then(|storage| storage.get_item(&key).ok().flatten());
    let kept = kept.filter(|_| !again).unwrap_or_default();
    let mut parts = kept.split(BETWEEN);
    let same = parts.next().is_some_and(|from| begun.is_empty() || begun == from);
    if same && parts.clone().count() == 1 + shown.len() + folded.len() + flags.len() {
        composer
            .file
            .set(parts.next().filter(|name| !name.is_empty()).map(str::to_owned));
        for (text, word) in shown.iter().zip(parts.by_ref()) {
            text.set(word.to_owned());
        }
        for (text, word) in folded.iter().zip(parts.by_ref()) {
            // What will count is not hidden.
            if text.with_untracked(|text| text != word) {
                options.open.set(true);
                text.set(word.to_owned());
            }
        }
        for (flag, word) in flags.iter().zip(parts) {
            flag.set(!word.is_empty());
        }
    }
    Effect::new(move |_| {
        let mut text = begun.clone();
        text.push_str(BETWEEN);
        text.push_str(&composer.file.get().unwrap_or_default());
        for field in shown.iter().chain(&folded) {
            text.push_str(BETWEEN);
            field.with(|field| text.push_str(field));
        }
        for flag in &flags {
            text.push_str(BETWEEN);
            text.push_str(if flag.get() { "1" } else { "" });
        }
        if let Some(storage) = dom::tab_storage() {
            let _ = if whole.get() {
                storage.set_item(&key, &text)
            } else {
                storage.remove_item(&key)
            };
        }
    });
}

/// Forgets what was typed: it runs.
pub(crate) fn forget(path: &str) {
    if let (Some(storage), Some(key)) = (dom::tab_storage(), key(path)) {
        let _ = storage.remove_item(&key);
    }
}

fn key(path: &str) -> Option<String> {
    match session().state.get_untracked() {
        State::In(user) => Some(format!("draft {path} {}", user.username)),
        State::Unknown | State::Out => None,
    }
}
