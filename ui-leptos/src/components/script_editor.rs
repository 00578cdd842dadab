//! A script's text: typed, opened from a file or dropped.

use leptos::{ev, prelude::*};

use super::{
    file_pick::{self, FilePick, Picked},
    icon::Icon,
};
use crate::{dom, i18n::t, logic::format};

/// The editor.
#[component]
pub(crate) fn ScriptEditor(
    /// The text.
    text: RwSignal<String>,
    /// Name of the file that the text is, as long as nobody has changed it.
    file: RwSignal<Option<String>>,
    /// Its label.
    #[prop(into)]
    label: String,
    /// An example.
    #[prop(into)]
    placeholder: String,
    /// What the file dialog shows first.
    accept: &'static str,
) -> impl IntoView {
    let picked = Callback::new(move |picked: Picked| {
        text.set(picked.text);
        file.set(Some(picked.name));
    });
    let over = RwSignal::new(false);
    let dropped = move |event: ev::DragEvent| {
        event.prevent_default();
        over.set(false);
        let files = event.data_transfer().and_then(|transfer| transfer.files());
        if let Some(dropped) = files.and_then(|files| files.get(0)) {
            file_pick::read(dropped, picked);
        }
    };
    let lines = move || text.with(|text| text.lines().count());
    view! {
        <div class="editor-frame" class:over=move || over.get()
            on:dragover=move |event| { event.prevent_default(); over.set(true) }
            on:dragleave=move |_| over.set(false)
            on:drop=dropped
        >
            <div class="card-head">
                <label class="legend" for="script">{label}</label>
                <div class="toolbar">
                    {move || file.get().map(|name| view! { <span class="label"><span>{name}</span></span> })}
                    <FilePick picked=picked accept=accept />
                </div>
            </div>
            <textarea
                id="script"
                class="input mono editor"
                spellcheck="false"
                autocapitalize="off"
                autocomplete="off"
                placeholder=placeholder
                prop:value=move || text.get()
                on:input=move |event| {
                    text.set(dom::value(&event));
                    file.set(None);
                }
            ></textarea>
            <p class="hint editor-foot">
                <span><Icon name="upload" />{t("file-drop")}</span>
                <span class="num">{move || format!("{} · {}", crate::i18n::tn("lines", lines() as u64), format::bytes(text.with(String::len) as u64))}</span>
            </p>
        </div>
    }
}
