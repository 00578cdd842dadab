//! The few things of a browser that Leptos does not wrap. Everything that can be missing is an `Option` or a no-op.

use js_sys::{Array, Date, Uint8Array};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, Storage, Url};

/// The store of choices.
pub(crate) fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

/// What this tab keeps until it is closed.
pub(crate) fn tab_storage() -> Option<Storage> {
    window().session_storage().ok().flatten()
}

/// Keeps the browser from opening a file that is dragged over the page or dropped on it. Text may be dropped in fields.
pub(crate) fn hold_file(event: web_sys::DragEvent) {
    if event
        .data_transfer()
        .is_some_and(|transfer| transfer.types().includes(&"Files".into(), 0))
    {
        event.prevent_default();
    }
}

/// Languages that the browser prefers, in order, as an `accept-language` header has them.
pub(crate) fn browser_languages() -> Option<String> {
    let languages = window().navigator().languages();
    Some(
        languages
            .iter()
            .filter_map(|tag| tag.as_string())
            .collect::<Vec<_>>()
            .join(","),
    )
}

/// Sets an attribute of `<html>`.
pub(crate) fn set_root_attribute(name: &str, value: &str) {
    if let Some(root) = document().document_element() {
        let _ = if value.is_empty() {
            root.remove_attribute(name)
        } else {
            root.set_attribute(name, value)
        };
    }
}

/// Scheme, host and port of this console.
pub(crate) fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// Loads the page anew.
pub(crate) fn reload() {
    let _ = window().location().reload();
}

/// Path and query of the page.
pub(crate) fn here() -> String {
    let location = window().location();
    format!(
        "{}{}",
        location.pathname().unwrap_or_default(),
        location.search().unwrap_or_default()
    )
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    (Date::now() * 1_000.0) as i64
}

/// Milliseconds, for short measures.
pub(crate) fn tick_ms() -> f64 {
    Date::now()
}

/// A time as the browser's own clock shows it: `2026-11-22 10:42:07`.
pub(crate) fn local_time(time_us: i64) -> String {
    let date = date(time_us);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.get_full_year(),
        date.get_month() + 1,
        date.get_date(),
        date.get_hours(),
        date.get_minutes(),
        date.get_seconds()
    )
}

/// `10:42:07.123`.
pub(crate) fn local_clock(time_us: i64) -> String {
    let date = date(time_us);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        date.get_hours(),
        date.get_minutes(),
        date.get_seconds(),
        date.get_milliseconds()
    )
}

/// ISO 8601 in UTC, for `<time datetime>`.
pub(crate) fn iso_time(time_us: i64) -> String {
    date(time_us).to_iso_string().into()
}

fn date(time_us: i64) -> Date {
    Date::new(&JsValue::from_f64(time_us as f64 / 1_000.0))
}

/// Puts text on the clipboard. False when the browser refuses.
pub(crate) async fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    // Absent on plain http from another machine.
    let present = js_sys::Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|value| !value.is_undefined());
    if present && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok() {
        return true;
    }
    copy_by_selection(text)
}

fn copy_by_selection(text: &str) -> bool {
    let Some(body) = document().body() else { return false };
    let Ok(area) = document().create_element("textarea") else {
        return false;
    };
    let area: web_sys::HtmlTextAreaElement = area.unchecked_into();
    area.set_class_name("sr-only");
    area.set_value(text);
    if body.append_child(&area).is_err() {
        return false;
    }
    area.select();
    let command = js_sys::Reflect::get(&document(), &"execCommand".into())
        .ok()
        .and_then(|function| function.dyn_into::<js_sys::Function>().ok());
    let done = command.and_then(|function| function.call1(&document(), &"copy".into()).ok());
    area.remove();
    done.is_some_and(|done| done.is_truthy())
}

/// Gives the person a file.
pub(crate) fn download(name: &str, mime: &str, parts: &[Vec<u8>]) {
    let array = Array::new();
    for part in parts {
        array.push(&Uint8Array::from(part.as_slice()));
    }
    let options = BlobPropertyBag::new();
    options.set_type(mime);
    let Ok(blob) = Blob::new_with_u8_array_sequence_and_options(&array, &options) else {
        return;
    };
    let Ok(url) = Url::create_object_url_with_blob(&blob) else {
        return;
    };
    if let Ok(link) = document().create_element("a") {
        let link: HtmlAnchorElement = link.unchecked_into();
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    let _ = Url::revoke_object_url(&url);
}

/// Reads a file that the person chose.
pub(crate) async fn read_file(file: &web_sys::File) -> Option<Vec<u8>> {
    let buffer = JsFuture::from(file.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// The value of the input, textarea or select that an event came from.
pub(crate) fn value(event: &web_sys::Event) -> String {
    event_target_value(event)
}

/// True when a key was meant for a field.
pub(crate) fn in_field(event: &web_sys::KeyboardEvent) -> bool {
    let target = event
        .target()
        .and_then(|target| target.dyn_into::<web_sys::HtmlElement>().ok());
    target.is_some_and(|element| {
        matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT") || element.is_content_editable()
    })
}

/// True while the page is on screen.
pub(crate) fn is_visible() -> bool {
    document().visibility_state() != web_sys::VisibilityState::Hidden
}

/// Scrolls the element with this id into sight, and no further.
pub(crate) fn show(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(web_sys::ScrollLogicalPosition::Nearest);
        element.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

/// True on machines whose keyboards have ⌘.
pub(crate) fn is_apple() -> bool {
    window()
        .navigator()
        .platform()
        .is_ok_and(|name| name.starts_with("Mac") || name.starts_with("iP"))
}

/// Moves the keyboard to the element with this id.
pub(crate) fn focus(id: &str) {
    let element = document()
        .get_element_by_id(id)
        .and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(element) = element {
        let _ = element.focus();
    }
}
