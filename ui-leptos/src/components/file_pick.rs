//! A script from a file of this computer: chosen, or dropped on the editor.

use leptos::{html, prelude::*, task::spawn_local};

use super::{icon::Icon, toast};
use crate::{
    dom,
    i18n::{Arg, t, ta},
    logic::format,
};

/// Most bytes of a script; the cloud refuses more.
pub(crate) const MOST: usize = 512 * 1024;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Reads a chosen file, or says why it is no script.
pub(crate) fn read(file: web_sys::File, picked: Callback<Picked>) {
    let name = file.name();
    if file.size() > MOST as f64 {
        let size = format::bytes(file.size() as u64);
        return toast::complain(ta(
            "file-large",
            &[("name", Arg::from(name)), ("size", Arg::from(size))],
        ));
    }
    spawn_local(async move {
        let Some(bytes) = dom::read_file(&file).await else {
            return toast::complain(ta("file-unreadable", &[("name", Arg::from(name))]));
        };
        if bytes.is_empty() {
            return toast::complain(ta("file-empty", &[("name", Arg::from(name))]));
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => picked.run(Picked { name, text }),
            Ok(_) | Err(_) => toast::complain(ta("file-binary", &[("name", Arg::from(name))])),
        }
    });
}

/// The button.
#[component]
pub(crate) fn FilePick(
    /// Told when a file was read.
    picked: Callback<Picked>,
    /// What the file dialog shows first.
    accept: &'static str,
) -> impl IntoView {
    let node = NodeRef::<html::Input>::new();
    let chosen = move |_| {
        let Some(input) = node.get_untracked() else { return };
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            read(file, picked);
        }
        // The same file can be chosen again.
        input.set_value("");
    };
    view! {
        <label class="button button-small file-pick">
            <Icon name="upload" />
            <span>{t("file-open")}</span>
            <input node_ref=node type="file" class="sr-only" accept=accept on:change=chosen />
        </label>
    }
}
